"""Data modules: one file each; the name of the file is its --data_name."""
