"""Combinations of the options: each bakes, and an option changes what is its own and nothing else."""

import ast
import itertools
import re
import subprocess
import sys

import pytest

from tests.conftest import options, tomllib

VALUES = {}
for option, value in options():
    VALUES.setdefault(option, []).append(value)
# Options that own whole files, or lines of metadata: each of their values is baked with no sweeps and with both, not
# with each value of the others.
ALONE = {"license": "MIT", "ci": "none", "docker": False, "agents_md": False}


def is_baked(answers):
    changed = [option for option, default in ALONE.items() if answers[option] != default]
    return not changed or (len(changed) == 1 and answers["example_models"] and answers["sweeps"] in ("none", "both"))


ALL = [values for values in itertools.product(*VALUES.values()) if is_baked(dict(zip(VALUES, values, strict=True)))]

# The options by which a file comes, goes or differs; a folder stands for its files, and what is not named is the same
# in every project.
OWNERS = {
    "LICENSE": {"license"},
    "pyproject.toml": {"license", "example_models", "sweeps"},
    "README.md": {"example_models", "sweeps"},
    "docs/install.md": {"docker"},
    "Makefile": {"sweeps"},
    ".github/": {"ci"},
    ".gitlab-ci.yml": {"ci"},
    "renovate.json": {"ci"},
    "Dockerfile": {"docker"},
    ".dockerignore": {"docker"},
    ".devcontainer/": {"docker"},
    "AGENTS.md": {"agents_md"},
    "docs/growing.md": {"example_models", "sweeps"},
    "docs/hydra.md": {"sweeps"},
    "docs/sweeps.md": {"sweeps"},
    "models/mnist.py": {"example_models", "sweeps"},
    "models/gan.py": {"example_models", "sweeps"},
    "models/my_model.py": {"sweeps"},
    "conf/": {"sweeps"},
    "harness/README.md": {"sweeps"},
    "harness/sweeps/": {"sweeps"},
    "sweep_hydra.py": {"sweeps"},
    "sweep_optuna.py": {"sweeps"},
    "tests/test_model_gan.py": {"example_models"},
    "tests/test_model_mnist.py": {"example_models"},
    "tests/test_search_space.py": {"sweeps"},
}
# What no file speaks of where an option has this value.
UNSPOKEN = {
    ("example_models", False): r"\bgan\b|litmnist|goodgan|pillow|layer_1_dim",
    ("sweeps", "none"): r"sweep|optuna|search_space|hydra|multirun",
    ("sweeps", "optuna"): r"hydra|multirun|omegaconf",
    ("sweeps", "hydra"): r"optuna|search_space|\bstudy\b",
    ("ci", "none"): r"dependabot|renovate",
    ("docker", False): r"\bdocker(file)?\b|devcontainer",
    ("license", "none"): r"licen[cs]e-files|^licen[cs]e =",
}
BINARY = "data/digits.npz"
# Files in which a word is a name that a user's file may have, whatever was chosen.
NAMES = {"harness/declared.py": "search_space"}


@pytest.fixture(scope="module")
def bakes(bake):
    """Return the projects of all combinations, each with the content of its files."""
    projects = {values: bake(**dict(zip(VALUES, values, strict=True))) for values in ALL}
    return {
        values: (project, {name: (project.path / name).read_bytes() for name in project.files()})
        for values, project in projects.items()
    }


def owners(name):
    """Return the options that a file belongs to."""
    folders = [file for file in OWNERS if file.endswith("/") and name.startswith(file)]
    return OWNERS.get(name, OWNERS[folders[0]] if folders else set())


def test_an_option_changes_its_own_files_only(bakes):
    """Byte for byte: two projects with the same values of a file's owners have the same file."""
    names = sorted(set().union(*(files for _, files in bakes.values())))
    for name in names:
        found = set()
        for (one, (_, files)), (other, (_, other_files)) in itertools.combinations(bakes.items(), 2):
            differing = [option for option, *pair in zip(VALUES, one, other, strict=True) if pair[0] != pair[1]]
            if len(differing) == 1 and files.get(name) != other_files.get(name):
                found.update(differing)
        assert found == owners(name), name
    assert all(any(name == file or name.startswith(file) for name in names) for file in OWNERS)


def test_every_combination_is_sound(bakes):
    seen = set()
    for values, (project, files) in bakes.items():
        tomllib.loads(files["pyproject.toml"].decode())
        for name, content in files.items():
            if name.endswith(".py") and content not in seen:
                ast.parse(content)
                seen.add(content)
        for command in (["check"], ["format", "--check"]):
            ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
            result = subprocess.run(ruff, cwd=project.path, capture_output=True, text=True)
            assert result.returncode == 0, f"{values}: {result.stdout}"


def test_no_file_speaks_of_what_was_not_chosen(bakes):
    for values, (_, files) in bakes.items():
        texts = {name: content.decode() for name, content in files.items() if name != BINARY}
        for name, text in texts.items():
            assert not re.search(r"cookiecutter\.|(?<!\$)\{\{|\{%", text), name
            assert "\n\n\n\n" not in text, name
            assert text.endswith("\n"), name
            assert not text.endswith("\n\n"), name
        for chosen in zip(VALUES, values, strict=True):
            for name, text in texts.items() if chosen in UNSPOKEN else ():
                spoken = text.lower().replace(NAMES.get(name, "\n"), "\n")
                assert not re.search(UNSPOKEN[chosen], spoken, re.MULTILINE), f"{values}: {name}"
