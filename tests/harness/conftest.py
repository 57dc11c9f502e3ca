import os
import sys

import pytest

import data
import models
from harness import found


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    """Every test works in an empty folder, with no Trainer flags set in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["main.py"])  # the name in messages
    for name in [name for name in os.environ if name.startswith("PL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def root(monkeypatch, tmp_path):
    """A project whose models/ and data/ hold just what the test writes there."""

    def loaded():
        return [name for name in sys.modules if name.startswith(("models.", "data."))]

    for name in loaded():
        monkeypatch.delitem(sys.modules, name)
    known = {package: vars(package).copy() for package in (models, data)}  # which hold their modules as attributes
    for folder in ("models", "data"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
        monkeypatch.setattr(f"{folder}.__path__", [str(tmp_path / folder)])
    monkeypatch.setattr(found, "ROOT", tmp_path)
    yield tmp_path
    for name in loaded():
        del sys.modules[name]
    for package, attributes in known.items():
        for name in vars(package).keys() - attributes.keys():
            delattr(package, name)
        vars(package).update({name: value for name, value in attributes.items() if name != "__path__"})
