"""What makes two command lines the same study: every flag that can change the value of a trial."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

# Flags that cannot change the value of a trial, and why. Each machine that joins in has its own; all others count.
UNCOUNTED = {
    "monitor": "metrics are compared as such",
    "monitor_mode": "directions are compared as such",
    # where a trial runs: another machine has other last digits, whatever its flags are
    "accelerator": "the kind of device",
    "benchmark": "which algorithms of cuDNN's are the fastest on a device",
    "num_threads": "CPU threads",
    "num_workers": "which processes fetch the batches",
    "data_on_device": "where the data wait for their batch",
    # where files are, and which are kept
    "config": "what a file sets is compared as such",
    "default_root_dir": "the folder of the sweep",
    "model_registry": "where checkpoints are uploaded",
    "save_every_n_train_steps": "last.ckpt is for a trial that is killed",
    "save_weights_only": "what is in a checkpoint beside the weights",
    # what is logged and shown
    "enable_autolog_hparams": "logged before training",
    "enable_model_summary": "shown before training",
    "enable_progress_bar": "shown",
    "log_every_n_steps": "the last batch of an epoch, and of a validation, is always read",
    "logger": "where metrics are written",
    "lr_monitor": "one more value is logged",
    "model_summary_depth": "shown before training",
    "profiler": "measures time",
    "progress_bar_refresh_rate": "shown",
    "track_grad_norm": "one more value is logged",
    # what is done after training, or by other commands
    "limit_predict_batches": "of predict alone",
    "limit_test_batches": "the test comes after the value",
    "test_after_fit": "the test comes after the value",
}


def process_count(devices: Any) -> Any:
    """Return the number of processes of a trial; -1 for as many as there are devices."""
    return len(devices) if isinstance(devices, list) else 1 if devices == "auto" else devices


# Flags of which not every difference counts: what of their value does.
COUNTED: dict[str, Callable[[Any], Any]] = {
    "devices": process_count,  # each process has a batch of its own, so there is another step
    "enable_checkpointing": lambda on: on is not False,  # without best.ckpt, the last weights are validated
    "save_top_k": lambda count: count != 0,  # the same
}


@dataclass
class Definition:
    """What a study was begun with.

    Args:
        metrics: what is to become best, one or more.
        directions: of each metric, minimize or maximize.
        space: the values that trials draw, as ``--search`` takes them, by name: several where they vary. None: unknown.
        flags: of main.py, by name, with plain values; without those that every trial draws.
        given: flags of main.py and of the sweep that were given when it was begun: these are held.
    """

    metrics: list[str]
    directions: list[str]
    space: dict[str, list[str]] | None
    flags: dict[str, Any]
    given: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Return it as JSON, for ``read_definition``."""
        return json.dumps(asdict(self))

    def identity(self) -> dict[str, str]:
        """Return what counts, by name."""
        counted = {name: COUNTED[name](value) if name in COUNTED else value for name, value in self.flags.items()}
        flags = {name: shown(value) for name, value in counted.items() if name not in UNCOUNTED}
        drawn = {name: [*values, *([flags[name]] if name in flags else [])] for name, values in self.drawn.items()}
        goal = {"monitor": shown(self.metrics), "direction": shown(self.directions)}
        return {**goal, **flags, **{name: " or ".join(values) for name, values in drawn.items()}}

    @property
    def drawn(self) -> dict[str, list[str]]:
        """The values that trials draw, where they are known."""
        return self.space or {}


def read_definition(text: Any) -> Definition | None:
    """Return the definition in a user attribute of a study; None if it is none of ours."""
    try:
        content = json.loads(text)
        if "flags" in content:
            return Definition(**content)
        metrics, directions = content.pop("metrics"), content.pop("directions")
        flags = {name: value for name, value in content.items() if name not in ("sampler", "pruner", "space")}
        return Definition(metrics, directions, None, flags)  # of version 0.1.0
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def differences(before: Definition, here: Definition, defaults: Mapping[str, Any]) -> list[str]:
    """Return how two definitions differ, as in "learning_rate: 0.001 there, 0.01 here".

    A flag that the first has not known yet has its default there.

    Args:
        before: of a study.
        here: of a command line.
        defaults: of flags, by name.
    """
    unknown = here.flags.keys() - before.flags.keys() - before.drawn.keys()
    flags = {**{name: defaults[name] for name in unknown if name in defaults}, **before.flags}
    old, new = replace(before, flags=flags).identity(), here.identity()
    names = [name for name in {**old, **new} if before.space is not None or name not in here.drawn]
    if old["model_name"] != new["model_name"]:  # which decides what other flags there are
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
