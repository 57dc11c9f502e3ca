"""The speed of training with `main.py` on a GPU, beside loops written by hand with the same settings.

    python benchmarks/gpu.py [--rounds N] [--accelerator cpu]

The loops take turns, with a process for each net. Then every flag for GPUs is tried once.
Exit status 1: the goal is missed, or a flag fails. With `--accelerator cpu --images 64` the command is tried without a
GPU: its figures mean nothing.
"""

import json
import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from statistics import median
from typing import Any

from project import REPORT, ROOT, baked, machine, run_on_terminal, write_section
from training import now, stopwatch

EPOCHS = 4  # the first is not counted
GOAL = 0.95  # of the raw loop's speed, for the ResNet with all settings
DATA = """
import os

import torch

from harness.data import InMemoryData


class Images(InMemoryData):
    def load(self):
        shape = (1, 28, 28) if "MLP" in os.environ["NET"] else (3, 32, 32)
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(int(os.environ["IMAGES"]), *shape, generator=generator)
        y = torch.randint(10, (len(x),), generator=generator)
        return {"train": (x, y), "val": (x[:64], y[:64]), "test": (x[:64], y[:64])}
"""
RESNET = """
import torch
from torch.nn import functional as F

from models.resnet import ResNet
from harness.optimizers import can_fuse


class ResNet18(ResNet):
    data_name = "images"

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        rate = self.hparams.learning_rate
        return torch.optim.SGD(self.parameters(), lr=rate, momentum=0.9, fused=can_fuse(self))
"""
NETS: dict[str, tuple[list[str], int]] = {  # flags, training images
    "MLP, batch 64": (["--model_name", "mnist", "--batch_size", "64"], 55_000),
    "MLP, batch 256": (["--model_name", "mnist", "--batch_size", "256"], 55_000),
    "MLP, batch 1,024": (["--model_name", "mnist", "--batch_size", "1024"], 55_000),
    "ResNet-18, batch 512": (
        ["--model_name", "resnet18", "--width", "64", "--blocks", "2", "2", "2", "2", "--batch_size", "512"],
        25_600,
    ),
}
ALL = "all three"
SETTINGS: dict[str, list[str]] = {
    "plain": [],
    "`--precision bf16-mixed`": ["--precision", "bf16-mixed"],
    "`--compile`": ["--compile"],
    "`--data_on_device`": ["--data_on_device"],
    ALL: ["--precision", "bf16-mixed", "--compile", "--data_on_device"],
}
FOR_GPUS: list[list[str]] = [
    ["--devices", "1"],
    ["--devices", "auto"],
    ["--gpus", "1"],
    ["--precision", "16-mixed", "--gradient_clip_val", "0.5"],
    ["--precision", "bf16-true"],
    ["--strategy", "ddp"],
    ["--benchmark"],
    ["--deterministic"],
    ["--auto_scale_batch_size", "power"],
    ["--num_workers", "2"],
    ["--data_on_device", "--compile", "--precision", "bf16-mixed"],
    ["--model_name", "gan", "--encoder_layers", "2"],
]
TEXT = """
`python benchmarks/gpu.py --rounds {rounds}`: images a second of `main.py` through the training batches of an epoch,
relative to a loop written by hand that has the same net, optimiser (fused) and settings, in the same round; median of
{rounds} and range, on
{device}, {machine}.
The MLP is `mnist` with its defaults; ResNet-18 has 11.2 million weights and images of 3x32x32.

| settings | {nets} |
|---{rule}|
{rows}

The goal is {goal} for the ResNet with all three. Flags for GPUs, tried once: {tried}.
"""


def raw_loop(args: Any) -> list[float]:
    """Return the seconds of each epoch of a loop written by hand, with the model and the settings of a run."""
    import torch
    from torch.nn import functional as F

    from harness.found import DATA, MODELS
    from harness.training.compiling import compile_layers

    device = torch.device("cuda" if args.accelerator == "gpu" else "cpu")
    model: Any = MODELS.build(args.model_name, args).to(device)
    if args.compile:
        compile_layers(model)
    data: Any = DATA.build(args.data_name, args)
    x, y = data.load()["train"]
    home = device if args.data_on_device else torch.device("cpu")
    x, y = x.to(home), y.to(home)
    optimizer = model.configure_optimizers()
    taken = []
    for _ in range(EPOCHS):
        start = now()
        order: Any = torch.randperm(len(x)).to(home)
        for index in order.split(args.batch_size):
            images, labels = x[index], y[index]
            if device != home:
                images = images.pin_memory().to(device, non_blocking=True)
                labels = labels.pin_memory().to(device, non_blocking=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16-mixed"):
                loss: Any = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        taken.append(now() - start)
    return taken


def own_loop(args: Any) -> list[float]:
    """Return the seconds of each epoch of a run."""
    from train import train

    watch = stopwatch()
    train(args, callbacks=[watch])
    taken: list[float] = watch.taken
    return taken


def seconds(loop: str, net: str, accelerator: str, images: int, project: Path) -> dict[str, float]:
    """Return the seconds of an epoch, in the median, by settings, of the raw loop or of runs; all in one process."""
    result = project / "result.json"
    command = [__file__, "--measure", loop, str(result), *NETS[net][0], "--accelerator", accelerator]
    run_on_terminal(command, project, NET=net, IMAGES=str(images))
    taken: dict[str, float] = json.loads(result.read_text())
    return taken


def measure(loop: str, result: str, *words: str) -> None:
    """Write the seconds of an epoch with each of the settings into a file."""
    sys.path.insert(0, os.getcwd())
    from main import parse_args

    taken = {}
    for setting, more in SETTINGS.items():
        common = ["--devices", "1", "--data_name", "images", "--max_epochs", str(EPOCHS)]
        args = parse_args([*words, *more, *common])
        taken[setting] = median((raw_loop if loop == "raw" else own_loop)(args)[1:])
    Path(result).write_text(json.dumps(taken))


def name_of_device(accelerator: str) -> str:
    """Return the name of the accelerator."""
    import torch

    if accelerator == "cpu":
        return "the CPU"
    if not torch.cuda.is_available():
        sys.exit("no GPU here: --accelerator cpu --images 64 --rounds 1 tries the command without one")
    return torch.cuda.get_device_name()


def try_flags(project: Path, accelerator: str, images: int) -> list[str]:
    """Return the flags for GPUs with which a run fails, and print its output."""
    failing = []
    for words in FOR_GPUS:
        command = [sys.executable, "main.py", "--max_epochs", "1", "--accelerator", accelerator, *words]
        environment = os.environ | {"NET": "MLP", "IMAGES": str(images)}
        result = subprocess.run(command, cwd=project, capture_output=True, text=True, env=environment)
        if result.returncode:
            failing.append(" ".join(words))
            print(*words, result.stdout, result.stderr, sep="\n", file=sys.stderr)
    return failing


def main() -> None:
    """Bake, measure, write."""
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
        return
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--accelerator", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--images", type=int, help="training images; left out: enough for a GPU")
    parser.add_argument("--report", type=Path, default=REPORT)
    args = parser.parse_args()
    device = name_of_device(args.accelerator)
    ratios: dict[tuple[str, str], list[float]] = {}
    with baked() as project:
        (project / "data" / "images.py").write_text(DATA)
        (project / "models" / "resnet18.py").write_text(RESNET)
        shutil.copytree(ROOT / "tests" / "public" / "models" / "resnet", project / "models" / "resnet")
        for _ in range(args.rounds):
            for net, (_, images) in NETS.items():
                number = args.images or images
                raw, own = (seconds(loop, net, args.accelerator, number, project) for loop in ("raw", "own"))
                for setting in SETTINGS:
                    ratios.setdefault((setting, net), []).append(raw[setting] / own[setting])
        failing = try_flags(project, args.accelerator, args.images or 10_000)
    rows = []
    for setting in SETTINGS:
        cells = [ratios[setting, net] for net in NETS]
        rows.append(f"| {setting} | {' | '.join(f'{median(x):.2f} ({min(x):.2f} to {max(x):.2f})' for x in cells)} |")
    tried = ", ".join(f"`{' '.join(words)}`{' fails' * (' '.join(words) in failing)}" for words in FOR_GPUS)
    section = TEXT.format(
        rounds=args.rounds,
        device=device,
        machine=machine("pytorch-lightning", "torch"),
        nets=" | ".join(NETS),
        rule="|---" * len(NETS),
        rows="\n".join(rows),
        goal=GOAL,
        tried=tried,
    )
    write_section(args.report, "On a GPU", section)
    reached = median(ratios[ALL, "ResNet-18, batch 512"])
    missed = [f"{reached:.2f} of the raw loop, not {GOAL}"] if reached < GOAL else []
    sys.exit("; ".join([*missed, *(f"{words} fails" for words in failing)]) or 0)


if __name__ == "__main__":
    main()
