"""The pattern of fastMRI: flags of data, model and Trainer in one parser, defaults of 1.x, the newest checkpoint."""

import os
from argparse import ArgumentParser
from pathlib import Path

from parts import Line, Lines
from pytorch_lightning import Trainer, callbacks


def build_args():
    parser = ArgumentParser()
    parser.add_argument("--mode", choices=("train", "test"), default="train")
    parser = Lines.add_data_specific_args(parser)
    parser = Line.add_model_specific_args(parser)
    parser.set_defaults(lr=0.05)
    parser = Trainer.add_argparse_args(parser)
    parser.set_defaults(
        num_processes=1,
        replace_sampler_ddp=False,
        deterministic=True,
        default_root_dir=Path("logs"),
        max_epochs=2,
    )
    args = parser.parse_args()
    folder = args.default_root_dir / "checkpoints"
    args.callbacks = [callbacks.ModelCheckpoint(dirpath=folder, monitor="val_loss", filename="{epoch}")]
    if args.resume_from_checkpoint is None and folder.exists():
        args.resume_from_checkpoint = str(sorted(folder.glob("*.ckpt"), key=os.path.getmtime)[-1])
    return args


def cli_main(args):
    data = Lines(batch_size=args.batch_size, size=args.size)
    model = Line(lr=args.lr)
    trainer = Trainer.from_argparse_args(args)
    if args.mode == "train":
        trainer.fit(model, datamodule=data)
    else:
        trainer.test(model, datamodule=data)
    print("steps", trainer.global_step, "lr", model.hparams.lr)


if __name__ == "__main__":
    cli_main(build_args())
