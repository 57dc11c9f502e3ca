"""The pattern of latent-diffusion: Trainer flags that differ from their defaults win over a config file."""

import argparse

import yaml
from parts import Line, Lines
from pytorch_lightning.trainer import Trainer


def nondefault_trainer_args(opt):
    parser = argparse.ArgumentParser()
    parser = Trainer.add_argparse_args(parser)
    args = parser.parse_args([])
    return sorted(name for name in vars(args) if getattr(opt, name) != getattr(args, name))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("-b", "--base", nargs="*", default=[])
    parser.add_argument("-l", "--logdir", default="logs")
    parser = Trainer.add_argparse_args(parser)
    opt, unknown = parser.parse_known_args()
    config = {}
    for file in opt.base:
        with open(file) as stream:
            config.update(yaml.safe_load(stream))
    for name in nondefault_trainer_args(opt):
        config[name] = getattr(opt, name)
    trainer_opt = argparse.Namespace(**config)
    trainer = Trainer.from_argparse_args(trainer_opt, default_root_dir=opt.logdir)
    model = Line()
    trainer.fit(model, Lines())
    print("steps", trainer.global_step, "lr", model.hparams.lr)
    print("unknown", unknown)
