"""``--debug``: flags for a short run that shows errors, weaker than the command line."""

from collections.abc import Sequence
from typing import Any

from harness.trainer_args import YES

FLAG = "--debug"
BATCHES = "10"
SETTINGS: dict[str, Any] = {
    # errors at the line that causes them
    **{"accelerator": "cpu", "devices": "1", "num_nodes": "1", "strategy": "auto", "num_workers": "0"},
    **{"detect_anomaly": "yes", "deterministic": "warn", "compile": "no"},
    # all values, and no other program
    **{"log_every_n_steps": "1", "model_summary_depth": "-1", "logger": "csv"},
    # one short epoch with a validation
    **{"max_epochs": "1", "min_epochs": None, "min_steps": None},
    **{f"limit_{stage}_batches": BATCHES for stage in ("train", "val", "test", "predict")},
    **{"val_check_interval": "1.0", "check_val_every_n_epoch": "1"},
}


def position(typed: bool | None, settings: Sequence[Any]) -> int | None:
    """Return the place of ``SETTINGS`` among config files, the strongest first; None if ``--debug`` is not given.

    The command line is stronger. A config file that has the flag is, too: that of a debug run has all its flags.

    Args:
        typed: the value on the command line, or None.
        settings: the flags of the config files.
    """
    if typed is not None:
        return 0 if typed else None
    given = [str(each["debug"]).lower() in YES if "debug" in each else None for each in settings]
    strongest = next((number for number, is_on in enumerate(given) if is_on is not None), None)
    return strongest + 1 if strongest is not None and given[strongest] else None
