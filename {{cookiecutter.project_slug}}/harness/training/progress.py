"""The terminal output of a run: the layers of the model, the progress bar, and messages above it."""

import logging
import re
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelSummary, TQDMProgressBar
from pytorch_lightning.utilities.model_summary.model_summary import get_human_readable_count
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

LOGGERS = ("pytorch_lightning", "lightning_fabric")
THREADS = torch.get_num_threads()  # torch's default
INTERVAL = 0.2  # seconds between updates of the bar; one takes as long as several steps of a small net


class Progress(TQDMProgressBar):
    """Lightning's bar, updated a few times per second; without a terminal, a line per epoch."""

    BAR_FORMAT = "{desc} {n_fmt}/{total_fmt} {bar} {remaining}{postfix}"  # three metrics fit into 80 columns

    def __init__(self) -> None:
        super().__init__()
        self.on_terminal = sys.stdout.isatty()
        self.due = 0.0

    @property
    def is_enabled(self) -> bool:
        """Whether there are bars."""
        return self.on_terminal and super().is_enabled

    def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """Update the bar if it is due, or at the end of the epoch."""
        if self._is_due(trainer.is_last_batch):
            super().on_train_batch_end(trainer, *args, **kwargs)

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Update the bar if it is due, or after the last batch of the loader."""
        total = self.total_val_batches_current_dataloader
        if self._is_due(batch_idx + 1 >= total):
            super().on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the metrics of the epoch."""
        super().on_train_epoch_end(trainer, pl_module)
        if not self.on_terminal and trainer.is_global_zero:
            metrics = self.get_metrics(trainer, pl_module)
            texts = [f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, int | float)]
            print(f"epoch {trainer.current_epoch}:", ", ".join(texts), flush=True)

    def _is_due(self, is_last: bool) -> bool:
        now = monotonic()
        if not is_last and now < self.due:
            return False
        self.due = now + INTERVAL
        return self.is_enabled


class Summary(ModelSummary):
    """Lightning's table of layers, without a column of FLOPs where none were counted."""

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        total_training_modes: dict[str, int],
        total_flops: int,
        **summarize_kwargs: Any,
    ) -> None:
        """Log the table, and the number of parameters."""
        columns = [[name, *cells] for name, cells in summary_data if name != "FLOPs" or total_flops]
        widths = [max(map(len, column)) for column in columns]
        rows = [" | ".join(map(str.ljust, row, widths)).rstrip() for row in zip(*columns, strict=True)]
        trainable, total = map(get_human_readable_count, (trainable_parameters, total_parameters))
        size = f"{total.strip()} parameters, {trainable.strip()} of them trainable, {model_size:.3g} MB"
        logging.getLogger(LOGGERS[0]).info("\n".join([*rows, size]))


class RunMessages(logging.Filter):
    """Filter that drops messages of Lightning that need no action, and shows each loaded checkpoint once."""

    def __init__(self) -> None:
        super().__init__()
        self.named: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to show a record; make the path in it relative."""
        text = str(record.msg)
        if "Tip:" in text or text.startswith("Restoring states"):
            return False
        loaded = re.fullmatch(r"(.* from the checkpoint at) (.*)", text)
        if loaded is None:
            return True
        is_new = loaded[2] not in self.named
        self.named.add(loaded[2])
        path = Path(loaded[2])
        record.msg = f"{loaded[1]} {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}"
        return is_new


@contextmanager
def messages_above_bars() -> Iterator[None]:
    """Print warnings and Lightning's log above the progress bars."""

    def show(*args: Any, **kwargs: Any) -> None:
        tqdm.write(warnings.formatwarning(*args[:4]), file=sys.stderr, end="")

    before = warnings.showwarning
    warnings.showwarning = show
    try:
        with logging_redirect_tqdm(terminal_loggers()):
            yield
    finally:
        warnings.showwarning = before


def terminal_loggers() -> list[logging.Logger]:
    """Return the loggers that write to the terminal: Lightning's, or the root where a program has set up logging."""
    found = map(logging.getLogger, LOGGERS)
    return list({each if each.handlers or not logging.root.handlers else logging.root: None for each in found})


def set_up_process(args: Namespace) -> None:
    """Set the number of CPU threads, and silence messages of Lightning that need no action."""
    threads = args.num_threads or THREADS  # an earlier run of this process may have had another number
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", message=".*does not have many workers")  # data in memory needs none
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists")  # of a resumed run
    warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint need")  # not for a test
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")  # Lightning's own use of torch
    warnings.filterwarnings("ignore", message="The `srun` command is available")  # also shown where no job is wanted
    logging.getLogger("pytorch_lightning.utilities.rank_zero").filters[:] = [RunMessages()]
