"""Models: one file each; the file's name is its --model_name."""
