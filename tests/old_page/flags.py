"""Block 1: the network's flags and all of Trainer's on one parser."""

from argparse import ArgumentParser

from harness import trainer_args as pl

parser = ArgumentParser()

# what the network needs
parser.add_argument("--layer_1_dim", type=int, default=128)
parser.add_argument("--layer_2_dim", type=int, default=256)
parser.add_argument("--batch_size", type=int, default=64)

# and everything the Trainer offers
parser = pl.Trainer.add_argparse_args(parser)

args = parser.parse_args()
