"""The time and memory to read a large checkpoint, beside one torch.load; writes a section of docs/benchmarks.md.

    python benchmarks/checkpoints.py [--rounds N] [--units N]

Measured is the work of `main.py test --ckpt_path FILE` on the file, before its weights go to the model. Each reading
has a process of its own, which has parsed a command line without a checkpoint before. Exit status 1: a goal is missed.
"""

import gc
import json
import os
import resource
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from statistics import median
from time import perf_counter

from project import REPORT, baked, machine, write_section

FLAGS = [
    *("--max_epochs", "1", "--limit_train_batches", "1", "--limit_val_batches", "1", "--test_after_fit", "no"),
    *("--save_top_k", "0", "--accelerator", "cpu"),
    *("--enable_progress_bar", "no", "--enable_model_summary", "no", "--default_root_dir", "runs"),
]
FILES = {
    "weights and the state of Adam": [],
    "weights alone (`--save_weights_only`)": ["--save_weights_only"],
}
PLAIN, OURS = "`torch.load`", "`main.py test`"
GOALS = {"seconds": 2.0, "peak": 1.1}  # times those of torch.load
TEXT = """
`python benchmarks/checkpoints.py --rounds {rounds}`: reading a checkpoint, beside one
`torch.load(FILE, weights_only=True)` of the same file in the same round; median of {rounds} and range, on
{machine}.
The net is `mnist` with two layers of {units:,} units: {weights:.0f} million weights. `main.py test --ckpt_path FILE`
parses the flags that made the checkpoint, checks the file and gives its content to Lightning. Imports are not counted,
nor what a command line without a checkpoint takes. Memory is the peak of the process above that after its imports. The
files are in the cache of the system.

| file | MB | `torch.load` | `main.py test` | times as long | peak of `torch.load` | of `main.py test` | times as much |
|---|---|---|---|---|---|---|---|
{rows}

The goals are {seconds} times the time, since every byte is also compared with its checksum, which `torch.load` does not
do; and {peak} times the memory: one copy.
"""


def make_checkpoint(project: Path, units: int, words: list[str]) -> Path:
    """Train a large net for one step and return its checkpoint."""
    size = ["--layer_1_dim", str(units), "--layer_2_dim", str(units)]
    before = {*project.glob("runs/*")}
    result = subprocess.run(
        [sys.executable, "main.py", *FLAGS, *size, *words], cwd=project, capture_output=True, text=True
    )
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    (run,) = {*project.glob("runs/*")} - before
    return run / "checkpoints" / "last.ckpt"


def peak() -> int:
    """Return the most memory that this process had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(way: str, file: str) -> None:
    """Read a checkpoint, and print the seconds and the bytes that it takes."""
    sys.path.insert(0, os.getcwd())
    import torch

    import train  # noqa: F401  all that a run imports
    from harness.runs.checkpoint_files import CheckpointFiles
    from harness.runs.run import open_run
    from main import parse_args

    parse_args(["fit"])
    gc.collect()  # of all that the imports have left, which would fall into one of the readings
    before, start = peak(), perf_counter()
    if way == PLAIN:
        content = torch.load(file, map_location="cpu", weights_only=True)
    else:
        with open_run(parse_args(["test", "--ckpt_path", file])) as run:
            assert run.checkpoint
            content = CheckpointFiles(run.flags).load_checkpoint(run.ckpt_path)
    seconds = perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak": peak() - before, "tensors": len(content["state_dict"])}))


def in_process(way: str, file: Path, project: Path) -> dict[str, float]:
    """Return the seconds and the bytes that a way to read a checkpoint takes; it runs in a process of its own."""
    command = [sys.executable, __file__, "--measure", way, str(file)]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    found: dict[str, float] = json.loads(result.stdout)
    return found


def main() -> None:
    """Bake, measure, write."""
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
        return
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--units", type=int, default=10_000, help="of each layer")
    parser.add_argument("--report", type=Path, default=REPORT)
    args = parser.parse_args()
    rows, missed = [], []
    with baked() as project:
        for name, words in FILES.items():
            file = make_checkpoint(project, args.units, words)
            taken: dict[str, list[dict[str, float]]] = {PLAIN: [], OURS: []}
            for number in range(args.rounds + 1):
                for way, found in taken.items():
                    each = in_process(way, file, project)
                    if number:  # the first round fills caches
                        found.append(each)
            cells = [name, f"{file.stat().st_size / 1e6:,.0f}"]
            for what, unit, scale in (("seconds", "s", 1.0), ("peak", "MB", 1e-6)):
                plain, ours = ([scale * each[what] for each in taken[way]] for way in (PLAIN, OURS))
                ratios = [own / other for own, other in zip(ours, plain, strict=True)]
                digits = 2 if unit == "s" else 0
                cells += [f"{median(each):,.{digits}f} {unit}" for each in (plain, ours)]
                cells.append(f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
                if median(ratios) > GOALS[what]:
                    missed.append(f"{name}: {median(ratios):.2f} times the {what}, not {GOALS[what]}")
            rows.append(f"| {' | '.join(cells)} |")
            file.unlink()
    weights = (784 * args.units + args.units**2 + 12 * args.units + 10) / 1e6
    section = TEXT.format(
        rounds=args.rounds,
        machine=machine("pytorch-lightning", "torch"),
        units=args.units,
        weights=weights,
        rows="\n".join(rows),
        **GOALS,
    )
    write_section(args.report, "Reading a checkpoint", section)
    sys.exit(f"a goal is missed: {'; '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
