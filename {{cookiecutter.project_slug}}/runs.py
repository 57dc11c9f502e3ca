"""The directory of a run: made for it alone, with the flags that repeat it."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from lightning_fabric.utilities.rank_zero import rank_zero_only

CONFIG = "config.yaml"


@contextmanager
def new_run_dir(args: Namespace) -> Iterator[Path]:
    """Make a directory below ``--default_root_dir`` for one run; if the run fails with nothing to show, take it away.

    Of the processes of a distributed run, the first one makes it.
    """
    suffix = "" if args.command == "fit" else f"_{args.command}"
    first = run_dir = Path(args.default_root_dir, f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{args.model_name}{suffix}")
    for number in count(2):
        try:
            if is_first_process():
                run_dir.mkdir(parents=True)
            break
        except FileExistsError:  # two runs started in the same second
            run_dir = first.with_name(f"{first.name}_{number}")
    try:
        yield run_dir
    except BaseException:
        if is_first_process() and {path.name for path in run_dir.glob("*")} <= {CONFIG, "hparams.yaml"}:
            for path in run_dir.glob("*"):
                path.unlink()
            with suppress(OSError):  # never made
                run_dir.rmdir()
        raise


def write_config(args: Namespace, run_dir: Path) -> None:
    """Write all flags to ``config.yaml``, for ``--config`` to read."""
    if is_first_process():
        run_dir.mkdir(parents=True, exist_ok=True)
        flags = {name: plain(value) for name, value in vars(args).items() if name != "config"}
        text = f"# To repeat this run: python main.py --config {run_dir / CONFIG}\n"
        (run_dir / CONFIG).write_text(
            text + yaml.safe_dump(flags, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )


def plain(value: Any) -> Any:
    """Return a value as YAML has it: what is not plain becomes the text that its flag takes."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def is_first_process() -> bool:
    """Return whether this process, of all that a distributed run has, is the one that writes and prints."""
    return getattr(rank_zero_only, "rank", 0) == 0
