"""Data modules: one file each; the file's name is its --data_name."""
