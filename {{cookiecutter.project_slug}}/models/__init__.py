"""Models: one file each; the name of the file is its --model_name."""
