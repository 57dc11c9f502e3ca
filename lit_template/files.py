"""Which files of the template a project has. An option has whole files and folders."""

import os
from typing import Any

# The files of sweeps: of each kind, of either, and of both together. A folder is named with a slash.
OPTUNA = ["sweep_optuna.py", "harness/sweeps/optuna/", "docs/sweeps.md", "tests/test_search_space.py"]
HYDRA = ["sweep_hydra.py", "conf/", "harness/sweeps/hydra/", "docs/hydra.md"]
EITHER = ["harness/sweeps/"]
BOTH = ["harness/sweeps/hydra/plugins/", "harness/sweeps/hydra/study.py"]
GITHUB = [".github/"]
GITLAB = [".gitlab-ci.yml", "renovate.json"]
# Which files are not written when an option has this value.
UNCHOSEN: dict[str, dict[object, list[str]]] = {
    "example_models": {
        False: ["models/mnist.py", "models/gan.py", "tests/test_model_mnist.py", "tests/test_model_gan.py"]
    },
    "license": {"none": ["LICENSE"]},
    "ci": {"none": [*GITHUB, *GITLAB], "github": GITLAB, "gitlab": GITHUB},
    "docker": {False: ["Dockerfile", ".dockerignore", ".devcontainer/"]},
    "agents_md": {False: ["AGENTS.md"]},
    "sweeps": {"none": [*OPTUNA, *HYDRA, *EITHER], "optuna": HYDRA, "hydra": [*OPTUNA, *BOTH]},
}
# Answers to questions that earlier versions did not ask, for --replay of theirs.
LATER = {"ci": "none", "docker": False, "agents_md": False}


def unchosen(answers: dict[str, Any]) -> list[str]:
    """Return the files, and the folders with a slash, that the answers leave out."""
    return [
        file for option, values in UNCHOSEN.items() for file in values.get(answers.get(option, LATER.get(option)), [])
    ]


def if_chosen(path: str, answers: dict[str, Any]) -> str:
    """Return the path of a file of the template if its project has it, else nothing."""
    file = path.replace(os.sep, "/")
    left_out = any(file == name or (name.endswith("/") and file.startswith(name)) for name in unchosen(answers))
    return "" if left_out else path
