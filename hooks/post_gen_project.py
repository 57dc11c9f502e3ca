"""Remove the files of options that were not chosen, and say what to do next."""

import json
import shutil
from pathlib import Path

ANSWERS = r"""{{ cookiecutter | tojson }}"""  # JSON: what was typed stays text

# The files of sweeps: of each kind, of either, and of both together.
OPTUNA = ["sweep_optuna.py", "sweeps", "docs/sweeps.md"]
OPTUNA += ["tests/test_search_space.py", "tests/test_sweep_optuna.py", "tests/test_sweeps.py"]
HYDRA = ["sweep_hydra.py", "conf", "hydra_plugins", "multirun", "docs/hydra.md"]
HYDRA += ["tests/test_sweep_hydra.py"]
EITHER = ["one_run.py", "words.py"]
BOTH = ["hydra_plugins/optuna_sweeper.py", "multirun/study.py"]

# Which files and folders go when an option has this value.
UNCHOSEN: dict[str, dict[object, list[str]]] = {
    "example_models": {
        False: ["models/mnist.py", "models/gan.py", "tests/test_model_mnist.py", "tests/test_model_gan.py"]
    },
    "license": {"none": ["LICENSE"]},
    "sweeps": {"none": [*OPTUNA, *HYDRA, *EITHER], "optuna": HYDRA, "hydra": [*OPTUNA, *BOTH]},
}


def unchosen(answers: dict[str, object]) -> list[str]:
    """Return the files and folders that the answers leave out."""
    return [file for option, values in UNCHOSEN.items() for file in values.get(answers[option], [])]


if __name__ == "__main__":
    answers = json.loads(ANSWERS)
    for file in unchosen(answers):
        shutil.rmtree(file) if Path(file).is_dir() else Path(file).unlink(missing_ok=True)
    print("Next:", f"cd {answers['project_slug']}", "pip install -e .", "python main.py", sep="\n  ")
