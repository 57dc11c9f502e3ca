"""Blocks 3 and 4: a parser with all of Trainer's options, and nothing else."""

from argparse import ArgumentParser

from harness.trainer_args import Trainer

parser = ArgumentParser()

# every option of the Trainer: max_epochs and so on
parser = Trainer.add_argparse_args(parser)
args = parser.parse_args()
