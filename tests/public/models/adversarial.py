"""An adversarial autoencoder (Makhzani et al., https://arxiv.org/abs/1511.05644): two optimisers, stepped by hand."""

from argparse import ArgumentParser
from itertools import pairwise
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.flags import positive_float, positive_int


def layers(*sizes: int) -> nn.Sequential:
    """Return linear layers of these sizes with ReLU between them."""
    return nn.Sequential(*[layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())][:-1])


class AdversarialAutoencoder(pl.LightningModule):
    """Describe images by vectors that a critic cannot tell from normally distributed ones."""

    monitor = "val_loss"

    @staticmethod
    def add_model_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        group = parser.add_argument_group("AdversarialAutoencoder")
        group.add_argument("--latent_dim", type=positive_int, default=8)
        group.add_argument("--width", type=positive_int, default=64)
        group.add_argument("--autoencoder_learning_rate", type=positive_float, default=2e-3)
        group.add_argument("--critic_learning_rate", type=positive_float, default=1e-3)
        return parser

    def __init__(self, hparams: Any) -> None:
        super().__init__()
        self.save_hyperparameters(hparams)
        self.automatic_optimization = False
        width, latent_dim = self.hparams.width, self.hparams.latent_dim
        self.encoder, self.decoder = layers(784, width, latent_dim), layers(latent_dim, width, 784)
        self.critic = layers(latent_dim, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return images [B, 1, 28, 28] in 0..1, as they are decoded."""
        return torch.sigmoid(self.decoder(self.encoder(x.flatten(1)))).view_as(x)

    def configure_optimizers(self) -> tuple[list[Any], list[Any]]:
        autoencoder = [*self.encoder.parameters(), *self.decoder.parameters()]
        optimizers = [
            torch.optim.Adam(autoencoder, lr=self.hparams.autoencoder_learning_rate),
            torch.optim.Adam(self.critic.parameters(), lr=self.hparams.critic_learning_rate),
        ]
        return optimizers, [torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.5) for optimizer in optimizers]

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x = batch[0].flatten(1)
        for_autoencoder, for_critic = self.optimizers()

        self.toggle_optimizer(for_autoencoder)
        z = self.encoder(x)
        reconstruction = F.binary_cross_entropy_with_logits(self.decoder(z), x)
        fooled = F.softplus(-self.critic(z)).mean()
        for_autoencoder.zero_grad()
        self.manual_backward(reconstruction + 0.1 * fooled)
        self.clip_gradients(for_autoencoder, gradient_clip_val=1.0)
        for_autoencoder.step()
        self.untoggle_optimizer(for_autoencoder)

        self.toggle_optimizer(for_critic)
        real, made = self.critic(torch.randn_like(z)), self.critic(z.detach())
        critic_loss = (F.softplus(-real) + F.softplus(made)).mean()
        for_critic.zero_grad()
        self.manual_backward(critic_loss)
        for_critic.step()
        self.untoggle_optimizer(for_critic)

        self.log_dict({"train_reconstruction": reconstruction, "train_critic_loss": critic_loss}, prog_bar=True)

    def on_train_epoch_end(self) -> None:
        for schedule in self.lr_schedulers():
            schedule.step()

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_loss", F.binary_cross_entropy(self(batch[0]), batch[0]), sync_dist=True)

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test_loss", F.binary_cross_entropy(self(batch[0]), batch[0]), sync_dist=True)
