"""Optimisers and schedules from flags, and fused steps."""

from math import cos, pi
from typing import Any

import pytorch_lightning as pl
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from harness.errors import UsageError

FUSED_ON = ("cpu", "cuda", "mps", "xpu")  # devices with fused Adam, AdamW and SGD


def build_optimizer(model: pl.LightningModule) -> Optimizer | dict[str, Any]:
    """Return what ``configure_optimizers`` returns, by the flags of ``harness.optimizer_flags.add_optimizer_args``.

    After ``--warmup_steps``, in which it grows linearly, the step size is multiplied by a function of the part t of the
    training that is over: 1 (constant), 1 - t (linear) or (1 + cos(pi t)) / 2 (cosine; Loshchilov and Hutter, SGDR,
    2017). A run that is resumed with another limit follows the schedule of that limit.

    Raises:
        UsageError: If a schedule has no end, for lack of a limit of training.
    """
    flags: Any = model.hparams
    kind = {"adam": Adam, "adamw": AdamW, "sgd": SGD}[flags.optimizer]
    more = {"momentum": flags.momentum} if kind is SGD else {}
    optimizer: Optimizer = kind(
        model.parameters(), lr=flags.learning_rate, weight_decay=flags.weight_decay, fused=can_fuse(model), **more
    )
    if flags.lr_schedule == "constant" and not flags.warmup_steps:
        return optimizer
    steps = model.trainer.estimated_stepping_batches
    if flags.lr_schedule != "constant" and steps == float("inf"):
        raise UsageError(f"--lr_schedule {flags.lr_schedule} needs an end: add --max_epochs or --max_steps")

    def factor(step: int) -> float:
        if step < flags.warmup_steps:
            return float(step + 1) / (flags.warmup_steps + 1)
        if flags.lr_schedule == "constant":
            return 1.0
        part = min(1.0, (step - flags.warmup_steps) / max(1.0, steps - flags.warmup_steps))
        return 1 - part if flags.lr_schedule == "linear" else (1 + cos(pi * part)) / 2

    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": Schedule(optimizer, factor), "interval": "step"}}


class Schedule(LambdaLR):
    """LambdaLR that follows its function from the first step after a resume, also where that has changed."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the step, and set the step size of it."""
        super().load_state_dict(state_dict)
        for group, rate, factor in zip(self.optimizer.param_groups, self.base_lrs, self.lr_lambdas, strict=True):
            group["lr"] = rate * factor(self.last_epoch)


def can_fuse(model: pl.LightningModule) -> bool:
    """Return whether an optimiser of the model may have ``fused=True``, which updates all weights in one kernel.

    This trains a small net up to a fifth faster. It cannot be combined with clipping in mixed precision: a fused
    optimiser removes the scale of fp16 in its step, after clipping, and Lightning rejects it for bf16, too.
    """
    try:
        trainer = model.trainer
    except RuntimeError:  # a direct call of configure_optimizers
        trainer = None
    clips = trainer is not None and trainer.precision.endswith("-mixed") and bool(trainer.gradient_clip_val)
    return model.device.type in FUSED_ON and not clips
