"""The state of the torchmetrics of a model, which Lightning's checkpoints do not contain."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.wrappers import MetricTracker

State = dict[str, dict[str, Any]]  # attributes of each metric, by the name of the metric in the model


def read_metrics(model: torch.nn.Module) -> State:
    """Return a copy, on the CPU, of every number and tensor that the metrics of a model hold."""
    for module in model.modules():
        if isinstance(module, MetricCollection):
            module.items(copy_state=False)  # gives each of the metrics that share a state its own
    return {name: attributes(metric) for name, metric in named_metrics(model)}


def changed_metrics(model: torch.nn.Module, fresh: State) -> State:
    """Return the state of each metric of a model, and its other attributes that differ from ``fresh``."""
    return {
        name: {
            key: value
            for key, value in read.items()
            if key in {"_update_count", *metric.metric_state} or not equal(value, fresh.get(name, {}).get(key))
        }
        for (name, metric), read in zip(named_metrics(model), read_metrics(model).values(), strict=True)
    } | {name: {"length": len(tracker)} for name, tracker in named_trackers(model)}


def restore_metrics(model: torch.nn.Module, saved: Mapping[str, Mapping[str, Any]], device: torch.device) -> None:
    """Restore the metrics of a model from the result of ``changed_metrics``."""
    for name, tracker in named_trackers(model):
        for _ in range(len(tracker), saved[name]["length"]):
            tracker.increment()
        for step, _ in list(tracker.named_children())[saved[name]["length"] :]:  # added by an earlier hook
            delattr(tracker, step)
    for name, metric in named_metrics(model):
        for key, value in saved.get(name, {}).items():
            setattr(metric, key, copied(value))
        metric._computed = None  # its value is computed again
        metric.to(device)


def named_metrics(model: torch.nn.Module) -> Iterator[tuple[str, Metric]]:
    """Yield the metrics of a model by name, also those in plain lists and dicts, which are no modules of torch."""
    for name, module in model.named_modules():
        if isinstance(module, Metric):
            yield name, module
        for attribute, value in vars(module).items():
            if isinstance(value, list | tuple | dict) and not attribute.startswith("_"):
                for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                    if isinstance(item, Metric):
                        yield f"{name}.{attribute}[{key}]", item


def named_trackers(model: torch.nn.Module) -> Iterator[tuple[str, MetricTracker]]:
    """Yield the trackers of a model by name; a tracker is a list with a copy of its metric per epoch."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, MetricTracker))


def attributes(metric: Metric) -> dict[str, Any]:
    """Return copies of the attributes of a metric that are numbers, tensors or lists of tensors."""
    derived = ("_computed", "training")  # a cache, and the mode of the model
    return {name: copied(value) for name, value in vars(metric).items() if is_data(value) and name not in derived}


def is_data(value: Any) -> bool:
    """Return whether a value is a number, a tensor, or a list of tensors."""
    return isinstance(value, bool | int | float | Tensor) or (
        isinstance(value, list) and all(isinstance(item, Tensor) for item in value)
    )


def copied(value: Any) -> Any:
    """Return a copy of data, on the CPU and without its gradient."""
    if isinstance(value, Sequence):
        return [copied(item) for item in value]
    return value.detach().cpu().clone() if isinstance(value, Tensor) else value


def equal(one: Any, other: Any) -> bool:
    """Return whether two copies of data are equal."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and bool(one == other)
