"""Block 7: modules that declare their own flags."""

from argparse import ArgumentParser

import module
import torch
from torch.nn import functional as F

from models.gan import Encoder


class LitMNIST(module.LitMNIST):
    # slip: on the page the static methods stand inside __init__
    @staticmethod
    def add_model_specific_args(parent_parser):
        parser = ArgumentParser(parents=[parent_parser], add_help=False)  # slip: two parsers with -h clash
        parser.add_argument("--layer_1_dim", type=int, default=128)
        parser.add_argument("--layer_2_dim", type=int, default=256)
        parser.add_argument("--batch_size", type=int, default=64)
        parser.add_argument("--learning_rate", type=float, default=1e-3)
        return parser


class GoodGAN(module.LitMNIST):
    """Data and optimiser as above; the page shows no more of it than the encoder."""

    def __init__(self, hparams):
        super(module.LitMNIST, self).__init__()
        self.save_hyperparameters(hparams)
        self.encoder = Encoder(28 * 28, 1, layers=hparams.encoder_layers, width=32)

    def training_step(self, batch, batch_idx):
        real = batch[0].flatten(1)
        return F.softplus(self.encoder(torch.rand_like(real)) - self.encoder(real)).mean()

    @staticmethod
    def add_model_specific_args(parent_parser):
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        parser.add_argument("--encoder_layers", type=int, default=12)
        parser.add_argument("--batch_size", type=int, default=64)
        parser.add_argument("--learning_rate", type=float, default=1e-3)
        return parser
