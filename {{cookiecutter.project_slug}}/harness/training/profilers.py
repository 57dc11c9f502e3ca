"""The profiler of ``--profiler``, with its report in the directory of the run."""

from argparse import Namespace
from typing import Any

from pytorch_lightning.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler

from harness.runs.run import Run
from harness.trainer_args import notice

PROFILERS: dict[str, Any] = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


def build_profiler(args: Namespace, run: Run) -> Any:
    """Return the profiler, which writes ``fit-profile.txt`` and such; another value of the flag as it is."""
    if args.profiler not in PROFILERS:
        return args.profiler
    notice(f"--profiler {args.profiler} writes {run.dir}/*-profile.txt")
    return PROFILERS[args.profiler](dirpath=run.dir, filename="profile")
