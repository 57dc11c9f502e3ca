"""The training harness: all machinery around the models, the data and the training of this project."""
