"""The import of Lightning, without packages that it loads where they are installed and that a run does not use.

scipy and torchvision would make a start a third longer. Code that uses them gets them all the same, when it does.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

LIGHTNING = ("lightning_fabric", "pytorch_lightning", "torchmetrics")
# What torchmetrics loads of them as soon as it is imported itself.
SCIPY = ("scipy", "scipy.signal")
TORCHVISION = ("torchvision", "torchvision.models", "torchvision.ops", "torchvision.transforms")


def import_lightning() -> None:
    """Import Lightning, in seconds."""
    try:
        with postponed(*SCIPY), postponed(*TORCHVISION), without_rich():
            import_module("pytorch_lightning")
    except ImportError:  # a version that loads more of them gets it
        for name in [name for name in sys.modules if name.split(".")[0] in LIGHTNING]:
            del sys.modules[name]
        import_module("pytorch_lightning")


class Later:
    """Something of a module, which is loaded when it is used.

    Args:
        module: name of the module.
        name: of what is meant.
    """

    def __init__(self, module: str, name: str) -> None:
        """Remember the arguments."""
        self._module, self._name = module, name

    def __getattr__(self, attribute: str) -> Any:
        """Return an attribute of it."""
        return getattr(getattr(import_module(self._module), self._name), attribute)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call it."""
        return getattr(import_module(self._module), self._name)(*args, **options)


class PostponedModule(ModuleType):
    """Stands for a module, and has whatever is asked for."""

    def __getattr__(self, name: str) -> Any:
        """Return what stands for something of the module."""
        if name.startswith("__"):
            raise AttributeError(name)
        return Later(self.__name__, name)


@contextmanager
def postponed(package: str, *modules: str) -> Iterator[None]:
    """Do not load a package and modules of it for now, unless it is loaded already."""
    spec = None if package in sys.modules else find_spec(package)
    if spec is None:
        yield
        return
    stand_ins = {name: PostponedModule(name) for name in (package, *modules)}
    stand_ins[package].__spec__ = spec  # by which others see that it is installed
    for name in modules:
        setattr(stand_ins[package], name.removeprefix(f"{package}."), stand_ins[name])
    sys.modules |= stand_ins
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


@contextmanager
def without_rich() -> Iterator[None]:
    """Let Lightning find no rich, whose bar and summary have their own counterparts here."""
    from lightning_utilities.core.imports import RequirementCache

    check = RequirementCache._check_requirement

    def check_but_rich(self: Any) -> None:
        check(self)
        self.available = self.available and not self.requirement.startswith("rich")

    setattr(RequirementCache, check.__name__, check_but_rich)
    try:
        yield
    finally:
        setattr(RequirementCache, check.__name__, check)
