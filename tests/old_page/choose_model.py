"""Block 8: a main file for several modules, each with its own flags."""

from argparse import ArgumentParser

from modules_with_flags import GoodGAN, LitMNIST

from harness.trainer_args import Trainer


def main(args):
    # the chosen model
    if args.model_name == "gan":
        model = GoodGAN(hparams=args)
    elif args.model_name == "mnist":
        model = LitMNIST(hparams=args)

    # slip: here the page makes a LitMNIST whatever was chosen
    trainer = Trainer(max_epochs=args.max_epochs)
    trainer.fit(model)
    return trainer


if __name__ == "__main__":
    parser = ArgumentParser()
    parser = Trainer.add_argparse_args(parser)

    # which model is it to be?
    parser.add_argument("--model_name", type=str, default="gan", help="gan or mnist")
    temp_args, _ = parser.parse_known_args()  # slip: it returns a pair

    # the flags it brings
    if temp_args.model_name == "gan":
        parser = GoodGAN.add_model_specific_args(parser)
    elif temp_args.model_name == "mnist":
        parser = LitMNIST.add_model_specific_args(parser)

    args = parser.parse_args()

    # train
    trainer = main(args)
