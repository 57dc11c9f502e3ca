"""Runs and multiruns with Hydra."""
