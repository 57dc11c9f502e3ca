"""A generative adversarial network: two residual networks, trained by hand against each other."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from harness.flags import count, positive_float, positive_int
from harness.optimizers import can_fuse

GENERATOR_LAYERS = 3
COARSE = 14  # pixels per side of the generated images; enlarging them makes strokes smooth from the first step
GRID = 8  # a sample grid shows GRID x GRID images


class ResidualBlock(nn.Module):
    """Add a learned change to features [B, width]; it starts at zero, so that deep networks train."""

    def __init__(self, width: int) -> None:
        """Build the layers; the last starts at zero."""
        super().__init__()
        last = nn.Linear(width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.change = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """Return features [B, width]."""
        return x + self.change(x)


class Encoder(nn.Sequential):
    """Map vectors [B, in_features] to [B, out_features] through ``layers`` residual blocks."""

    def __init__(self, in_features: int, out_features: int, *, layers: int, width: int) -> None:
        """Build the layers."""
        blocks = [ResidualBlock(width) for _ in range(layers)]
        super().__init__(nn.Linear(in_features, width), *blocks, nn.LayerNorm(width), nn.Linear(width, out_features))


class Discriminator(nn.Module):
    """Score images: real ones higher than generated ones."""

    def __init__(self, layers: int, width: int) -> None:
        """Build the encoder and the head."""
        super().__init__()
        self.encoder = Encoder(28 * 28, width, layers=layers, width=width)
        self.head = nn.Linear(2 * width, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores [B, 1] of images [B, 1, 28, 28]."""
        features = self.encoder(images.flatten(1))
        # A generator that repeats one image shows in the deviation of each feature over the batch (minibatch standard
        # deviation: Karras et al., https://arxiv.org/abs/1710.10196, section 3). The small number keeps the gradient
        # of the root finite where nothing varies, such as in a batch of one.
        spread = (features.var(0, unbiased=False) + 1e-6).sqrt().expand_as(features)
        return self.head(torch.cat([features, spread], dim=1))


class GoodGAN(pl.LightningModule):
    """Generate images [B, 1, 28, 28] in 0..1 like those of the data; labels are not used.

    The loss compares the scores of a real and a generated image (relativistic loss: Jolicoeur-Martineau,
    https://arxiv.org/abs/1807.00734). The gradient of the scores of real images is penalised (R1: Mescheder et al.,
    https://arxiv.org/abs/1801.04406).

    On several devices it needs ``--strategy ddp_find_unused_parameters_true``: each of the two backward passes uses
    one network alone.
    """

    monitor = "val_frechet"  # best.ckpt holds the weights of the epoch with the lowest value

    @staticmethod
    def add_model_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        """Add the hyperparameters."""
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        group = parser.add_argument_group("GoodGAN")
        group.add_argument("--encoder_layers", type=count, default=12, help="residual blocks of the discriminator")
        group.add_argument("--width", type=positive_int, default=128, help="units of each block")
        group.add_argument("--latent_dim", type=positive_int, default=32, help="random numbers per image")
        group.add_argument("--gradient_penalty", type=positive_float, default=2.0, help="weight of R1")
        group.add_argument("--learning_rate", type=positive_float, default=1e-3, help="step size of both Adams")
        return parser

    # {% if cookiecutter.sweeps in ["optuna", "both"] %}
    @staticmethod
    def search_space(trial: Any) -> None:
        """Draw the hyperparameters that a sweep searches."""
        trial.suggest_int("encoder_layers", 2, 16)
        trial.suggest_categorical("width", [64, 128, 256])
        trial.suggest_float("gradient_penalty", 0.1, 10.0, log=True)
        trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)

    # {% endif %}
    def __init__(self, hparams: Namespace | Mapping[str, Any]) -> None:
        """Build both networks."""
        super().__init__()
        self.save_hyperparameters(hparams)
        self.automatic_optimization = False
        width = self.hparams.width
        self.discriminator = Discriminator(self.hparams.encoder_layers, width)
        self.generator = Encoder(self.hparams.latent_dim, COARSE**2, layers=GENERATOR_LAYERS, width=width)
        self.real: list[Tensor] = []  # real images, for the Fréchet distance
        self.example_input_array = torch.zeros(2, self.hparams.latent_dim)  # of forward, for main.py export

    def forward(self, z: Tensor) -> Tensor:
        """Return images [B, 1, 28, 28] generated from random numbers z [B, latent_dim]."""
        coarse = torch.sigmoid(self.generator(z)).view(-1, 1, COARSE, COARSE)
        return F.interpolate(coarse, size=28, mode="bilinear")

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return one Adam per network, that of the discriminator first."""
        networks = (self.discriminator, self.generator)
        settings = {"lr": self.hparams.learning_rate, "betas": (0.0, 0.9), "fused": can_fuse(self)}
        return [torch.optim.Adam(network.parameters(), **settings) for network in networks]

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Take one step with each network."""
        real = batch[0].requires_grad_()
        fake = self(torch.randn(len(real), self.hparams.latent_dim, device=real.device, dtype=real.dtype))
        discriminator_optimizer, generator_optimizer = self.optimizers()

        self.toggle_optimizer(discriminator_optimizer)
        real_scores = self.discriminator(real)
        discriminator_loss = F.softplus(self.discriminator(fake.detach()) - real_scores).mean()
        (slope,) = torch.autograd.grad(real_scores.sum(), real, create_graph=True)
        penalty = slope.square().flatten(1).sum(1).mean() * self.hparams.gradient_penalty / 2
        discriminator_optimizer.zero_grad()
        self.manual_backward(discriminator_loss + penalty)
        discriminator_optimizer.step()
        self.untoggle_optimizer(discriminator_optimizer)

        self.toggle_optimizer(generator_optimizer)
        generator_loss = F.softplus(self.discriminator(real).detach() - self.discriminator(fake)).mean()
        generator_optimizer.zero_grad()
        self.manual_backward(generator_loss)
        generator_optimizer.step()
        self.untoggle_optimizer(generator_optimizer)

        losses = {"train_discriminator_loss": discriminator_loss, "train_generator_loss": generator_loss}
        self.log_dict(losses, prog_bar=True, batch_size=len(real))

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Collect the real images."""
        self.real.append(batch[0])

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Collect the real images."""
        self.real.append(batch[0])

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return as many new images [B, 1, 28, 28] as the batch has."""
        return {"image": self(torch.randn(len(batch[0]), self.hparams.latent_dim).to(next(self.parameters())))}

    def on_validation_epoch_end(self) -> None:
        """Log val_frechet; during training, write a grid of samples."""
        samples = self._compare("val")
        fitting = self.trainer.state.fn == "fit" and not self.trainer.sanity_checking
        if fitting and self.trainer.is_global_zero:
            write_grid(samples, Path(self.trainer.default_root_dir, "samples", f"epoch={self.current_epoch:03}.png"))

    def on_test_epoch_end(self) -> None:
        """Log test_frechet."""
        self._compare("test")

    def _compare(self, stage: str) -> Tensor:
        """Log the Fréchet distance of generated images from the collected real ones; return the generated ones."""
        real = torch.cat(self.real)
        self.real.clear()
        # The same random numbers each time, so that the distance depends on the weights alone.
        z = torch.randn(len(real), self.hparams.latent_dim, generator=torch.Generator().manual_seed(0))
        fake = self(z.to(next(self.parameters())))  # the device and type of the weights
        distance = frechet_distance(fake, real)
        self.log(f"{stage}_frechet", distance, prog_bar=True, batch_size=len(real), sync_dist=True)
        return fake


def frechet_distance(fake: Tensor, real: Tensor) -> Tensor:
    """Return the Fréchet distance of two sets of images [N, 1, 28, 28], as Gaussians in the space of 8x8 pixels.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), with the means m and covariances C of the 64 pixels (Dowson and
    Landau, 1982, https://doi.org/10.1016/0047-259X(82)90077-X). It is 0 for equal sets, in units of squared grey
    level, float32 on the device of ``real``, where processes can exchange it. NaN if a pixel is not finite.
    """
    # In double precision on the CPU: some devices do not support it.
    sets = [F.interpolate(images.cpu().double(), size=8, mode="area").flatten(1) for images in (fake, real)]
    if not all(pixels.isfinite().all() for pixels in sets):
        return torch.full((), torch.nan, device=real.device)
    (mean_1, mean_2), (cov_1, cov_2) = zip(*((x.mean(0), x.T.cov(correction=0)) for x in sets), strict=True)
    values, vectors = torch.linalg.eigh(cov_1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # tr (C1 C2)^(1/2) is the sum of the roots of the eigenvalues of C1^(1/2) C2 C1^(1/2).
    cross = torch.linalg.eigvalsh(root @ cov_2 @ root).clamp(min=0).sqrt().sum()
    distance = (mean_1 - mean_2).square().sum() + cov_1.trace() + cov_2.trace() - 2 * cross
    return distance.to(real.device, torch.float32)


def write_grid(images: Tensor, path: Path) -> None:
    """Write the first images of [N, 1, 28, 28] to a PNG file with at most GRID rows and columns."""
    columns = min(GRID, len(images))
    rows = min(GRID, len(images) // columns)
    framed = F.pad(images[: rows * columns], (1, 1, 1, 1), value=0.5)
    grid = framed.view(rows, columns, 30, 30).transpose(1, 2).reshape(rows * 30, columns * 30)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray((grid * 255).byte().cpu().numpy()).save(path)
