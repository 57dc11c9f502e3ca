"""What a sweep is made of. ``sweep_optuna.py`` is its command line."""
