"""Sweeps with Optuna."""
