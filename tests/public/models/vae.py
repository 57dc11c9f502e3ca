"""Variational autoencoders (Kingma and Welling, https://arxiv.org/abs/1312.6114): a base, and one of convolutions."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.flags import positive_float, positive_int


class Encoder(nn.Module):
    """Map images [B, 1, 28, 28] to means and log variances, each [B, latent_dim]."""

    def __init__(self, channels: int, latent_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Conv2d(1, channels, 3, stride=2, padding=1), nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)]
        )
        self.heads = nn.ModuleDict({name: nn.Linear(98 * channels, latent_dim) for name in ("mean", "log_variance")})

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.layers:
            x = F.silu(layer(x))
        return self.heads["mean"](x.flatten(1)), self.heads["log_variance"](x.flatten(1))


class Decoder(nn.Sequential):
    """Map latent vectors [B, latent_dim] to logits of pixels [B, 1, 28, 28]."""

    def __init__(self, channels: int, latent_dim: int) -> None:
        super().__init__(
            nn.Linear(latent_dim, 98 * channels),
            nn.Unflatten(1, (2 * channels, 7, 7)),
            nn.SiLU(),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.ConvTranspose2d(channels, 1, 4, stride=2, padding=1),
        )


class VAE(pl.LightningModule):
    """Describe images by a few numbers; a subclass has ``encoder`` and ``decoder``."""

    monitor = "val_loss"
    encoder: nn.Module
    decoder: nn.Module

    @staticmethod
    def add_model_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        group = parser.add_argument_group("VAE")
        group.add_argument("--latent_dim", type=positive_int, default=8, help="numbers that describe an image")
        group.add_argument("--beta", type=positive_float, default=1.0, help="weight of the divergence from the prior")
        group.add_argument("--learning_rate", type=positive_float, default=2e-3)
        return parser

    @staticmethod
    def search_space(trial: Any) -> None:
        trial.suggest_int("latent_dim", 2, 32, log=True)
        trial.suggest_float("beta", 0.1, 4.0, log=True)
        trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the means of images [B, 1, 28, 28] are decoded to, in 0..1."""
        mean, _ = self.encoder(x)
        return torch.sigmoid(self.decoder(mean))

    def bound(self, batch: list[Tensor], stage: str) -> Tensor:
        """Return the negative evidence lower bound per image, in nats; log it and its parts."""
        x = batch[0]
        mean, log_variance = self.encoder(x)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        reconstruction = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum") / len(x)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum() / len(x)
        loss = reconstruction + self.hparams.beta * divergence
        parts = {"loss": loss, "reconstruction": reconstruction, "divergence": divergence}
        self.log_dict({f"{stage}_{name}": part for name, part in parts.items()}, sync_dist=stage != "train")
        return loss

    def training_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        return {"loss": self.bound(batch, "train")}

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.bound(batch, "val")

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.bound(batch, "test")

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        return {"image": self(batch[0])}

    def configure_optimizers(self) -> dict[str, Any]:
        """Return Adam, whose step size falls when val_loss no longer does."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}


class ConvVAE(VAE):
    """A VAE of convolutions."""

    @staticmethod
    def add_model_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        parser = VAE.add_model_specific_args(parent_parser)
        parser.add_argument("--channels", type=positive_int, default=8, help="of the first convolution")
        return parser

    def __init__(self, hparams: Namespace | Mapping[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters(hparams)
        self.encoder = Encoder(self.hparams.channels, self.hparams.latent_dim)
        self.decoder = Decoder(self.hparams.channels, self.hparams.latent_dim)
