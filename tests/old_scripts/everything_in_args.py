"""The pattern of pytorch-lightning-template: model, data, callbacks and logger are all made from args."""

from argparse import ArgumentParser

from parts import Line, Lines
from pytorch_lightning import Trainer, callbacks, loggers, seed_everything


def main(args):
    seed_everything(args.seed)
    data = Lines(**vars(args))
    model = Line(**vars(args))
    args.callbacks = [callbacks.EarlyStopping(monitor="val_loss", patience=10), callbacks.LearningRateMonitor("epoch")]
    args.logger = loggers.CSVLogger("logs", name=args.model_name)
    trainer = Trainer.from_argparse_args(args)
    trainer.fit(model, data)
    print("steps", trainer.global_step, "lr", model.hparams.lr)


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--batch_size", default=16, type=int)
    parser.add_argument("--seed", default=1234, type=int)
    parser.add_argument("--lr", default=1e-3, type=float)
    parser.add_argument("--model_name", default="line", type=str)
    parser = Trainer.add_argparse_args(parser)
    parser.set_defaults(max_epochs=3)
    main(parser.parse_args())
