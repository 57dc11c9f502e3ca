"""Block 6: the same, with every flag of the Trainer passed on."""

from argparse import ArgumentParser

from module import LitMNIST

from harness.trainer_args import Trainer


def main(args):
    model = LitMNIST(hparams=args)

    # whatever Trainer flag the command line has
    trainer = Trainer.from_argparse_args(args)
    trainer.fit(model)
    return trainer


if __name__ == "__main__":
    parser = ArgumentParser()
    parser = Trainer.add_argparse_args(parser)
    parser.add_argument("--layer_1_dim", type=int, default=128)
    parser.add_argument("--layer_2_dim", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    trainer = main(parser.parse_args())
