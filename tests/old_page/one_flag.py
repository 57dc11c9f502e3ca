"""Block 5: a main file that passes one of Trainer's flags on."""

from argparse import ArgumentParser

from module import LitMNIST

from harness.trainer_args import Trainer


def main(args):
    model = LitMNIST(hparams=args)
    trainer = Trainer(max_epochs=args.max_epochs)
    trainer.fit(model)
    return trainer


if __name__ == "__main__":
    parser = ArgumentParser()

    # the options of the Trainer, max_epochs among them
    parser = Trainer.add_argparse_args(parser)

    # what the network needs
    parser.add_argument("--layer_1_dim", type=int, default=128)
    parser.add_argument("--layer_2_dim", type=int, default=256)  # slip: the page declares layer_1_dim twice
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, default=1e-3)  # slip: not declared on the page
    args = parser.parse_args()

    # train
    trainer = main(args)
