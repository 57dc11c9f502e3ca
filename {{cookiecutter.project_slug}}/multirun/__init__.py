"""What a multirun of Hydra's is made of. ``sweep_hydra.py`` is its command line."""
