"""The identity of a study: every flag that can change the value of a trial."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

# Flags that cannot change the value of a trial, with the reason. Each machine may choose them; all others are compared.
UNCOUNTED = {
    "monitor": "the metrics are compared instead",
    "monitor_mode": "the directions are compared instead",
    # where a trial runs: the last digits depend on the machine anyway
    "accelerator": "kind of device",
    "benchmark": "choice among equivalent cuDNN algorithms",
    "num_threads": "CPU threads",
    "num_workers": "processes that fetch the batches",
    "data_on_device": "memory that holds the data",
    # files
    "config": "the flags in the file are compared instead",
    "default_root_dir": "folder of the sweep",
    "model_registry": "upload of checkpoints",
    "save_every_n_train_steps": "last.ckpt serves only to resume a killed trial",
    "save_weights_only": "content of a checkpoint beside the weights",
    # logging and display
    "enable_autolog_hparams": "logged before training",
    "enable_model_summary": "shown before training",
    "enable_progress_bar": "shown",
    "log_every_n_steps": "the values before a validation and at the end of an epoch are always read",
    "logger": "destination of the metrics",
    "lr_monitor": "one more value is logged",
    "model_summary_depth": "shown before training",
    "profiler": "measures time",
    "progress_bar_refresh_rate": "shown",
    "track_grad_norm": "one more value is logged",
    # after training, or of other commands
    "limit_predict_batches": "predict alone",
    "limit_test_batches": "the test comes after the value is known",
    "test_after_fit": "the test comes after the value is known",
}


def process_count(devices: Any) -> Any:
    """Return the number of processes of a trial; -1 for as many as there are devices."""
    return len(devices) if isinstance(devices, list) else 1 if devices == "auto" else devices


# Flags that are compared only in part.
COUNTED: dict[str, Callable[[Any], Any]] = {
    "devices": process_count,  # the batch of a step grows with the processes
    "enable_checkpointing": lambda on: on is not False,  # without best.ckpt the last weights are validated
    "save_top_k": lambda count: count != 0,  # the same
}


@dataclass
class Definition:
    """The goal, the search space and the flags that a study was started with.

    Args:
        metrics: names of the objectives.
        directions: minimize or maximize, for each metric.
        space: ranges by name, in the syntax of ``--search``; several if they vary between trials.
        flags: plain values of the flags of main.py, except flags that every trial draws.
        given: flags of main.py and of the sweep that the first command line gave, and so held fixed.
    """

    metrics: list[str]
    directions: list[str]
    space: dict[str, list[str]]
    flags: dict[str, Any]
    given: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Return it as JSON, for ``read_definition``."""
        return json.dumps(asdict(self))

    def identity(self) -> dict[str, str]:
        """Return the values that are compared, by name."""
        counted = {name: COUNTED[name](value) if name in COUNTED else value for name, value in self.flags.items()}
        flags = {name: shown(value) for name, value in counted.items() if name not in UNCOUNTED}
        drawn = {name: [*values, *([flags[name]] if name in flags else [])] for name, values in self.space.items()}
        goal = {"monitor": shown(self.metrics), "direction": shown(self.directions)}
        return {**goal, **flags, **{name: " or ".join(values) for name, values in drawn.items()}}

    def counted(self) -> dict[str, Any]:
        """Return the flags that can change the value of a trial, and are not searched."""
        return {name: value for name, value in self.flags.items() if name not in UNCOUNTED and name not in self.space}


def read_definition(text: Any) -> Definition | None:
    """Return the definition in a user attribute of a study; None if another program wrote it."""
    try:
        return Definition(**json.loads(text))
    except (TypeError, ValueError):
        return None


def differences(before: Definition, here: Definition, defaults: Mapping[str, Any]) -> list[str]:
    """Return how two definitions differ, as in "learning_rate: 0.001 there, 0.01 here".

    A flag that is newer than the study counts as having had its default.

    Args:
        before: definition of a study.
        here: definition of a command line.
        defaults: defaults of the flags, by name.
    """
    unknown = here.flags.keys() - before.flags.keys() - before.space.keys()
    flags = {**{name: defaults[name] for name in unknown if name in defaults}, **before.flags}
    old, new = replace(before, flags=flags).identity(), here.identity()
    names = list({**old, **new})
    if old["model_name"] != new["model_name"]:  # all other flags depend on it
        names = ["model_name"]
    return [
        f"{name}: {old.get(name, 'no such flag')} there, {new.get(name, 'no such flag')} here"
        for name in names
        if old.get(name) != new.get(name)
    ]


def shown(value: Any) -> str:
    """Return a value as a command line has it."""
    if isinstance(value, list):
        return ",".join(map(shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
