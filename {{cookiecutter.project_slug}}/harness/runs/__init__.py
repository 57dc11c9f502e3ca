"""The directory of a run, its files, its checkpoints, and the processes that share it."""
