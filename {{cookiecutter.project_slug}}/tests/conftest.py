import os
import sys

import pytest

import modules

# What the tests of the program run on. In a project that has removed it, those of its own models and data are left.
STANDS_ON = ("models/my_model.py", "data/my_data.py", "data/digits.py")
GONE = [file for file in STANDS_ON if not (modules.ROOT / file).exists()]
OF_THE_PROGRAM = (
    *("callbacks", "checkpoints", "command_line", "completion", "data", "explain", "lean_steps", "loops", "main"),
    *("model_gan", "model_mnist", "modules", "new", "optimizers", "predictions", "progress", "resume"),
    # {% if cookiecutter.sweeps in ["optuna", "both"] %}
    "sweep_optuna",
    # {% endif %}
    # {% if cookiecutter.sweeps in ["hydra", "both"] %}
    "sweep_hydra",
    # {% endif %}
)
collect_ignore = [f"test_{name}.py" for name in OF_THE_PROGRAM] if GONE else []


def pytest_report_header():
    return f"without {', '.join(GONE)} the tests of the program are left out" if GONE else None


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    """Every test works in an empty folder, with no Trainer flags set in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def root(monkeypatch, tmp_path):
    """A project whose models/ and data/ hold just what the test writes there."""

    def loaded():
        return [name for name in sys.modules if name.startswith(("models.", "data."))]

    for name in loaded():
        monkeypatch.delitem(sys.modules, name)
    for folder in ("models", "data"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
        monkeypatch.setattr(f"{folder}.__path__", [str(tmp_path / folder)])
    monkeypatch.setattr(modules, "ROOT", tmp_path)
    yield tmp_path
    for name in loaded():
        del sys.modules[name]
