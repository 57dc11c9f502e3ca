"""A script as people wrote it for Lightning 1.9; test_script_of_1_9.py changes its one import line."""

from argparse import ArgumentParser

import torch
from pytorch_lightning import LightningDataModule, Trainer
from pytorch_lightning.core.module import LightningModule
from torch.utils.data import DataLoader, TensorDataset


class Data(LightningDataModule):
    def __init__(self, size: int = 64, batch_size: int = 8, noise: float = 0.1, flip: bool = False):
        super().__init__()
        self.size, self.batch_size, self.noise, self.flip = size, batch_size, noise, flip

    def train_dataloader(self):
        x = torch.randn(self.size, 3, generator=torch.Generator().manual_seed(0))
        y = (-1 if self.flip else 1) * x.sum(1, keepdim=True) + self.noise
        return DataLoader(TensorDataset(x, y), batch_size=self.batch_size)


class Regression(LightningModule):
    def __init__(self, hparams):
        super().__init__()
        self.save_hyperparameters(hparams)
        self.lr = self.hparams.learning_rate
        self.layer = torch.nn.Linear(3, 1)

    @staticmethod
    def add_model_specific_args(parent_parser):
        parser = parent_parser.add_argument_group("Regression")
        parser.add_argument("--learning_rate", type=float, default=0.1)
        return parent_parser

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.layer(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def main():
    parser = ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser = Regression.add_model_specific_args(parser)
    parser = Data.add_argparse_args(parser)
    parser = Trainer.add_argparse_args(parser)
    parser.set_defaults(max_epochs=3, enable_progress_bar=False, enable_model_summary=False)
    args = Trainer.parse_argparser(parser.parse_args())

    torch.manual_seed(args.seed)
    data = Data.from_argparse_args(args)
    model = Regression(args)
    trainer = Trainer.from_argparse_args(args, num_sanity_val_steps=0)
    assert isinstance(trainer, Trainer)
    trainer.tune(model, datamodule=data)
    trainer.fit(model, datamodule=data)
    print("epochs", trainer.current_epoch)
    print("batches", trainer.num_training_batches)
    print("loss", float(trainer.callback_metrics["train_loss"]))
    print("lr", model.lr)
    print("from the environment", Trainer.match_env_arguments())


if __name__ == "__main__":
    main()
