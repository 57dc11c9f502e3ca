"""Exact resume, random numbers by seed, and fast steps, built on the private loops of Lightning 2.6.

The harness uses private names of Lightning in this folder alone. Without the folder, and its import and call in
``train.py``, a run trains, saves, resumes and tests as Lightning does.
"""

from argparse import Namespace
from typing import Any

import pytorch_lightning

from harness.runs.run import Run
from harness.trainer_args import notice

VERSION = "2.6"


def resume_exactly(trainer: Any, args: Namespace, run: Run) -> None:
    """Give a Trainer the loops that resume a run exactly; on another Lightning than 2.6, print what is lost.

    With ``--plain`` the Trainer keeps Lightning's own loops.
    """
    if args.plain:
        return
    version: str = pytorch_lightning.__version__  # type: ignore[attr-defined]
    if version.split(".")[:2] != VERSION.split("."):
        notice(
            f"Lightning {version} trains with its own loops: without exact resume, batches by seed and epoch, and fast "
            f"steps, which this project has for Lightning {VERSION}"
        )
        return
    from harness.lightning_2_6.attach import attach

    attach(trainer, args, run)
