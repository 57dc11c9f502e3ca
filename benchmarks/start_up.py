"""The time of a start, and of a bake; writes a section of docs/benchmarks.md.

    python benchmarks/start_up.py [--rounds N]

A start goes from `python main.py` to the end of the first training step. Exit status 1: a goal is missed.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from argparse import ArgumentParser
from pathlib import Path
from statistics import median
from time import perf_counter

from project import REPORT, ROOT, baked, machine, write_section

FIRST_STEP = """
import os

from models.mnist import LitMNIST


class Started(LitMNIST):
    def on_train_batch_end(self, *args):
        os._exit(0)
"""
IMPORT = "import os, pytorch_lightning; os._exit(0)"
OPTIONAL = ("scipy", "rich")  # Lightning and torchmetrics import them where they are installed
MODELS = 100
GOALS = {"start": 1.2, "lean": 1.2, "help": 1.1, "bake": 1.0}  # the last in seconds
TEXT = """
`python benchmarks/start_up.py --rounds {rounds}`: wall time of a whole process, median of {rounds} and range, on
{machine}.
scipy and rich are installed, but for the rows without them, which have an environment of their own.

| what | ms |
|---|---|
{rows}

- A start takes {start:.2f} times the import of Lightning, and {lean:.2f} times that where scipy and rich are not
  installed (the goal is at most 1.2). Where they are, Lightning imports them: {cost:.2f} s of a start.
- `--help` with {models} more files in `models/` takes {help:.2f} times as long (the goal is at most 1.1).
- A bake takes {bake:.2f} s more than one of an empty template (the goal is at most 1).
"""


def seconds(python: str, argv: list[str], folder: Path) -> float:
    """Return the wall time of a command."""
    start = perf_counter()
    result = subprocess.run([python, *argv], cwd=folder, capture_output=True, text=True)
    taken = perf_counter() - start
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    return taken


def lean_python(folder: Path) -> str:
    """Make an environment with the packages of this one, without the optional ones, and return its Python."""
    venv.create(folder, symlinks=True)
    own = Path(sysconfig.get_path("purelib"))
    theirs = folder / own.relative_to(sys.prefix)
    for path in own.iterdir():
        if path.name.split("-")[0] not in (*OPTIONAL, *(f"{name}.libs" for name in OPTIONAL)):
            (theirs / path.name).symlink_to(path)
    return str(folder / "bin" / "python")


def write_empty_template(folder: Path) -> Path:
    """Write a template of one file, and return its folder."""
    project = folder / "empty" / "{{cookiecutter.name}}"
    project.mkdir(parents=True)
    (project / "README.md").write_text("{{cookiecutter.name}}\n")
    (folder / "empty" / "cookiecutter.json").write_text('{"name": "empty"}')
    return folder / "empty"


def main() -> None:
    """Bake, measure, write."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--report", type=Path, default=REPORT)
    args = parser.parse_args()
    taken: dict[str, list[float]] = {}
    with baked() as few, baked() as many, tempfile.TemporaryDirectory() as folder:
        (few / "models" / "started.py").write_text(FIRST_STEP)
        for number in range(MODELS):
            text = (few / "models" / "mnist.py").read_text().replace("class LitMNIST", f"class Copy{number}")
            (many / "models" / f"copy_{number}.py").write_text(text)
        empty = write_empty_template(Path(folder))
        os.environ["HOME"] = folder
        bake = ["-m", "cookiecutter", "--no-input", "--overwrite-if-exists"]
        python, lean = sys.executable, lean_python(Path(folder, "lean"))
        commands = {
            "`import pytorch_lightning`": (python, ["-c", IMPORT], few),
            "`python main.py`, to the first step": (python, ["main.py", "--model_name", "started"], few),
            "`import pytorch_lightning`, without scipy and rich": (lean, ["-c", IMPORT], few),
            "`python main.py`, without scipy and rich": (lean, ["main.py", "--model_name", "started"], few),
            "`--help`": (python, ["main.py", "--help"], few),
            f"`--help`, {MODELS} more models": (python, ["main.py", "--help"], many),
            "bake of an empty template": (python, [*bake, str(empty)], Path(folder)),
            "bake of this template": (python, [*bake, str(ROOT)], Path(folder)),
        }
        for number in range(args.rounds + 1):
            for name, command in commands.items():
                time = seconds(*command)
                if number:  # the first round fills caches
                    taken.setdefault(name, []).append(time)
    rows = [
        f"| {name} | {1000 * median(times):.0f} ({1000 * min(times):.0f} to {1000 * max(times):.0f}) |"
        for name, times in taken.items()
    ]
    imported, started, lean_imported, lean_started, short, long, nothing, whole = map(median, taken.values())
    found = {
        "start": started / imported,
        "lean": lean_started / lean_imported,
        "cost": started - lean_started,
        "help": long / short,
        "bake": whole - nothing,
    }
    on = machine("pytorch-lightning", "torch", "cookiecutter")
    section = TEXT.format(rounds=args.rounds, machine=on, rows="\n".join(rows), models=MODELS, **found)
    write_section(args.report, "Start", section)
    missed = [f"{name} {found[name]:.2f}, not {goal}" for name, goal in GOALS.items() if found[name] > goal]
    sys.exit(f"a goal is missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
