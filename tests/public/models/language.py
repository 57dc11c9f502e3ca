"""A transformer that foretells the next character, its flags taken by name."""

from argparse import ArgumentParser
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.flags import count, positive_float, positive_int


class Block(nn.Module):
    """Attention to what came before, then a layer for each place: [B, T, width] to the same."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before_attention, self.before_layer = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projections, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layer = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.projections(self.before_attention(x)).view(batch, length, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=dropout)
        x = x + F.dropout(self.output(attended.transpose(1, 2).reshape(batch, length, width)), dropout)
        return x + F.dropout(self.layer(self.before_layer(x)), dropout)


class Language(pl.LightningModule):
    """Foretell each token of int64 [B, T + 1] from those before it."""

    data_name = "text"
    monitor = "val_perplexity"

    @staticmethod
    def add_model_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        group = parser.add_argument_group("Language")
        group.add_argument("--tokens", type=positive_int, default=30, help="of the alphabet")
        group.add_argument("--context", type=positive_int, default=64, help="characters that it looks back")
        group.add_argument("--layers", type=positive_int, default=2)
        group.add_argument("--heads", type=positive_int, default=2)
        group.add_argument("--width", type=positive_int, default=64, help="a multiple of --heads")
        group.add_argument("--dropout", type=float, default=0.1)
        group.add_argument("--learning_rate", type=positive_float, default=3e-3)
        group.add_argument("--warmup_steps", type=count, default=10, help="in which the step size grows")
        return parser

    def __init__(
        self,
        tokens: int = 30,
        context: int = 64,
        layers: int = 2,
        heads: int = 2,
        width: int = 64,
        dropout: float = 0.1,
        learning_rate: float = 3e-3,
        warmup_steps: int = 10,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"--width {width} is not a multiple of --heads {heads}")
        self.save_hyperparameters()
        self.tokens = nn.Embedding(tokens, width)
        self.places = nn.Parameter(torch.zeros(context, width))
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(layers)), nn.LayerNorm(width))
        self.logits = nn.Linear(width, tokens, bias=False)
        self.logits.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits [B, T, tokens] of what follows each of int64 [B, T]."""
        return self.logits(self.blocks(self.tokens(tokens) + self.places[: tokens.shape[1]]))

    def cross_entropy(self, batch: Tensor) -> Tensor:
        """Return nats per token."""
        return F.cross_entropy(self(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self.cross_entropy(batch)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val_perplexity", self.cross_entropy(batch).exp(), sync_dist=True)

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("test_perplexity", self.cross_entropy(batch).exp(), sync_dist=True)

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Clip, whatever the flags say."""
        self.clip_gradients(optimizer, gradient_clip_val=1.0, gradient_clip_algorithm="norm")

    def configure_optimizers(self) -> tuple[list[Any], list[Any]]:
        """Return AdamW, with decay for matrices alone, and its warm-up."""
        matrices = [parameter for parameter in self.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.parameters() if parameter.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.hparams.learning_rate, betas=(0.9, 0.95))
        warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=self.hparams.warmup_steps)
        return [optimizer], [{"scheduler": warmup, "interval": "step"}]
