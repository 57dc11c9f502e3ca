"""Callbacks, loggers, progress and errors of training."""
