"""Samplers and pruners of Optuna, by their names in ``flags`` and with their options."""

import inspect
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna

from harness.errors import UsageError
from harness.flags import yes_no
from harness.sweeps.optuna.flags import PRUNERS, SAMPLERS

CLASSES = {"samplers": SAMPLERS, "pruners": PRUNERS}
WARMUP = 3  # median prunes no trial in the first of so many parts of its epochs
TYPES: dict[str, Callable[[str], Any]] = {"bool": yes_no, "int": int, "float": float, "str": str}


def class_of(name: str, kind: str) -> Any:
    """Return the class of a sampler or a pruner.

    Args:
        name: name in ``flags``.
        kind: "samplers" or "pruners".
    """
    return getattr(getattr(optuna, kind), CLASSES[kind][name])


def parameters_of(found: Any) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class."""
    return inspect.signature(found).parameters


def options_of(text: str, kind: str) -> dict[str, Any]:
    """Return the options in the text of a flag, by the names of Optuna's parameters.

    A part of a name is enough if no other has it: "warmup" for "n_warmup_steps".

    Args:
        text: such as "median:warmup=3,n_min_trials=2".
        kind: "samplers" or "pruners".

    Raises:
        ArgumentTypeError: If there is no such option, or it does not take the value.
    """
    name, _, rest = text.partition(":")
    parameters = parameters_of(class_of(name, kind))
    # Options that a text can give: "int | None", and not "Callable[[int], int]".
    types = {each: TYPES[word] for each, value in parameters.items() if (word := simple_type(value)) and each != "seed"}
    found: dict[str, Any] = {}
    for part in rest.split(",") if rest else ():
        option, equals, value = part.partition("=")
        names = [option] if option in types else [each for each in types if option and option in each]
        if len(names) != 1:
            raise ArgumentTypeError(f"{name} has no option {option!r}, but {', '.join(types) or 'none'}")
        if not equals:
            raise ArgumentTypeError(f"{part!r} is not of the form OPTION=VALUE")
        is_none = value == "none" and "None" in annotation_of(parameters[names[0]])
        try:
            found[names[0]] = None if is_none else types[names[0]](value)
        except (ArgumentTypeError, ValueError):
            raise ArgumentTypeError(f"{names[0]}={value}: it takes {annotation_of(parameters[names[0]])}") from None
    return found


def simple_type(parameter: inspect.Parameter) -> str | None:
    """Return the type of a parameter that a text can give, or None."""
    words = annotation_of(parameter).split(" | ")
    return next((word for word in TYPES if word in words), None)


def annotation_of(parameter: inspect.Parameter) -> str:
    """Return the annotation of a parameter as a text, such as "int | None"."""
    return inspect.formatannotation(parameter.annotation).strip("'")


def full_text(text: str, kind: str) -> str:
    """Return the text of a flag with full names of options, in which Optuna's class takes them.

    Raises:
        ArgumentTypeError: If it does not.
    """
    name, options = text.partition(":")[0], options_of(text, kind)
    try:
        class_of(name, kind)(**options)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(f"{text}: {error}") from None
    except ImportError:  # said when the sampler is used
        pass
    written = ",".join(f"{option}={shown(value)}" for option, value in options.items())
    return f"{name}:{written}" if written else name


def shown(value: Any) -> str:
    """Return the value of an option as a text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def build_sampler(text: str, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """Return the sampler for one trial.

    Its values depend on the seed, the number of the trial and the trials before it: two workers never draw the same,
    and a worker that is started again does not repeat itself.

    Args:
        text: name and options.
        seed: of the sweep.
        number: of the trial.

    Raises:
        UsageError: If a package is not installed.
    """
    own = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    name = text.partition(":")[0]
    found = class_of(name, "samplers")
    settings = {
        "seed": seed if name == "qmc" else own,  # a sequence of quasi-random points is one for all trials
        "scramble": True,
        "independent_sampler": optuna.samplers.RandomSampler(own),
    }
    if "independent_sampler" in parameters_of(found):
        settings["warn_independent_sampling"] = False
    settings = {name: value for name, value in settings.items() if name in parameters_of(found)}
    try:
        if name in ("gp", "qmc"):
            import scipy  # noqa: F401  Optuna imports it later
        if name == "cmaes":
            import cmaes  # noqa: F401

        return found(**{**settings, **options_of(text, "samplers")})
    except ImportError as error:
        raise UsageError(f"--sampler {name}: {error}: pip install -e '.[samplers]'") from error


def build_pruner(text: str, max_epochs: int | None) -> optuna.pruners.BasePruner:
    """Return the pruner.

    Args:
        text: name and options.
        max_epochs: number of epochs of a trial, if it is limited.
    """
    name, limit = text.partition(":")[0], max_epochs if max_epochs and max_epochs > 0 else None
    settings: dict[str, Any] = {}
    if name == "hyperband" and limit:
        settings = {"max_resource": limit}
    if name == "median" and limit:
        settings = {"n_warmup_steps": limit // WARMUP + 1}  # reports are counted from 1
    return class_of(name, "pruners")(**{**settings, **options_of(text, "pruners")})


def grid_point(grid: Mapping[str, Sequence[Any]], seed: int, number: int) -> dict[str, Any]:
    """Return one point of a grid; the order of the points depends on the seed.

    Args:
        grid: all values of each name.
        seed: of the sweep.
        number: of the trial.
    """
    size = int(np.prod([len(values) for values in grid.values()]))
    index = int(np.random.default_rng(seed).permutation(size)[number % size])
    point = {}
    for name, values in grid.items():
        index, position = divmod(index, len(values))
        point[name] = values[position]
    return point
