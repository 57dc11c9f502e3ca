"""The speed of training in two processes (DDP), beside one; writes a section of docs/benchmarks.md.

    python benchmarks/processes.py [--rounds N]

One CPU thread for each process. Exit status 1: the goal is missed.
"""

import os
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from statistics import median

from project import REPORT, baked, machine, write_section

GOAL = 1.6
IMAGES = 8192
DATA = f"""
import torch

from harness.data import InMemoryData


class Images(InMemoryData):
    def load(self):
        x, y = torch.rand({IMAGES}, 1, 28, 28), torch.randint(10, ({IMAGES},))
        return {{"train": (x, y), "val": (x[:64], y[:64]), "test": (x[:64], y[:64])}}
"""
MODEL = """
from time import perf_counter

from models.mnist import LitMNIST


class Timed(LitMNIST):
    def on_train_epoch_start(self):
        self.begun = perf_counter()

    def on_validation_start(self):
        if self.trainer.is_global_zero and self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            print("seconds", perf_counter() - self.begun)
"""
FLAGS = [
    *("--model_name", "timed", "--data_name", "images", "--max_epochs", "3", "--num_threads", "1"),
    *("--layer_1_dim", "2048", "--layer_2_dim", "2048", "--enable_progress_bar", "no", "--accelerator", "cpu"),
]
DDP = ["--devices", "2", "--strategy", "ddp"]
WAYS = {
    "one process, batch 1,024": ["--devices", "1", "--batch_size", "1024"],
    "two processes, batch 512 each": [*DDP, "--batch_size", "512"],
    "two processes, batch 1,024 each": [*DDP, "--batch_size", "1024"],
}
TEXT = """
`python benchmarks/processes.py --rounds {rounds}`: images a second through the training batches of an epoch, relative
to one process in the same round; median of {rounds} and range, on
{machine}.
The net is `mnist` with two layers of 2,048 units (5.8 million weights), on {images} made-up images. Each process has
one CPU thread; after every batch they exchange their gradients (gloo).

| how | times one process |
|---|---|
{rows}

The goal is 1.6 times with two processes on two cores.
"""


def images_a_second(project: Path, way: list[str]) -> float:
    """Return the speed of a run, in the median of its epochs but the first."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "main.py", *FLAGS, *way]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, env=environment)
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    times = [float(line.split()[1]) for line in result.stdout.splitlines() if line.startswith("seconds ")]
    return IMAGES / median(times[1:])


def main() -> None:
    """Bake, measure, write."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--report", type=Path, default=REPORT)
    args = parser.parse_args()
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    with baked() as project:
        (project / "data" / "images.py").write_text(DATA)
        (project / "models" / "timed.py").write_text(MODEL)
        for _ in range(args.rounds):
            for name, way in WAYS.items():
                taken[name].append(images_a_second(project, way))
    one, *_ = taken.values()
    ratios = {name: [each / alone for each, alone in zip(speeds, one, strict=True)] for name, speeds in taken.items()}
    rows = [f"| {name} | {median(x):.2f} ({min(x):.2f} to {max(x):.2f}) |" for name, x in ratios.items()]
    on = machine("pytorch-lightning", "torch")
    section = TEXT.format(rounds=args.rounds, machine=on, rows="\n".join(rows), images=f"{IMAGES:,}")
    write_section(args.report, "Two processes", section)
    reached = median(ratios["two processes, batch 1,024 each"])
    sys.exit(0 if reached >= GOAL else f"two processes train only {reached:.2f} times as fast: the goal is {GOAL}")


if __name__ == "__main__":
    main()
