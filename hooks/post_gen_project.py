"""Remove the files of options that were not chosen, and say what to do next."""

import json
import shutil
from pathlib import Path

ANSWERS = r"""{{ cookiecutter | tojson }}"""  # JSON: what was typed stays text

# Which files and folders go when an option has this value.
UNCHOSEN: dict[str, dict[object, list[str]]] = {
    "example_models": {
        False: ["models/mnist.py", "models/gan.py", "tests/test_model_mnist.py", "tests/test_model_gan.py"]
    },
    "license": {"none": ["LICENSE"]},
    "sweeps": {
        "none": [
            "sweep_optuna.py",
            "sweeps",
            "docs/sweeps.md",
            "tests/test_search_space.py",
            "tests/test_sweep_optuna.py",
            "tests/test_sweeps.py",
        ]
    },
}


def unchosen(answers: dict[str, object]) -> list[str]:
    """Return the files and folders that the answers leave out."""
    return [file for option, values in UNCHOSEN.items() for file in values.get(answers[option], [])]


if __name__ == "__main__":
    answers = json.loads(ANSWERS)
    for file in unchosen(answers):
        shutil.rmtree(file) if Path(file).is_dir() else Path(file).unlink(missing_ok=True)
    print("Next:", f"cd {answers['project_slug']}", "pip install -e .", "python main.py", sep="\n  ")
