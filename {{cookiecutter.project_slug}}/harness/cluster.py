"""A run as a job of a cluster: a Slurm script, its submission, or torchrun commands, for the same command line."""

import re
import shlex
import subprocess
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from datetime import datetime
from itertools import dropwhile
from pathlib import Path

from harness.errors import RunError, UsageError
from harness.files import whole_file

OWN = ("print_sbatch", "submit", "sbatch", "print_torchrun")
NOTICE = 120  # seconds before its time limit at which Slurm signals a job: for the end of a batch and a checkpoint
PORT = 29500  # default of torchrun


def add_cluster_args(parser: ArgumentParser) -> ArgumentParser:
    """Add the flags of clusters, and return the parser."""
    group = parser.add_argument_group("clusters")
    group.add_argument("--print_sbatch", action="store_true", help="print a Slurm script for this command and exit")
    group.add_argument("--submit", action="store_true", help="submit this command to Slurm and exit")
    group.add_argument(
        "--sbatch",
        type=option,
        nargs="+",
        action="extend",
        metavar="NAME=VALUE",
        help="options of sbatch, as in partition=gpu time=4:00:00",
    )
    group.add_argument("--print_torchrun", action="store_true", help="print the torchrun command of each node and exit")
    for action in group._group_actions:
        action.is_of_command = True  # type: ignore[attr-defined]  # no flag of a run: config files do not hold it
        action.is_typed = True  # type: ignore[attr-defined]  # the job has the same config file: it would submit itself
    return parser


def option(text: str) -> str:
    """Return an option of sbatch, with its dashes, if ``text`` is of the form NAME or NAME=VALUE."""
    if not re.fullmatch(r"[a-z][a-z-]+(=[^\s=].*)?", text) or not text.isprintable():
        raise ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE, such as time=4:00:00")
    return f"--{text}"


def taken_from(args: Namespace) -> Namespace | None:
    """Remove the flags of clusters from those of a run; return them, or None for a run on this machine.

    Raises:
        UsageError: If two of them are given, or ``--sbatch`` without a job.
    """
    own = Namespace(**{name: vars(args).pop(name) for name in OWN})
    chosen = [f"--{name}" for name in ("print_sbatch", "submit", "print_torchrun") if getattr(own, name)]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} exclude each other: give one of them")
    if own.sbatch is not None and not (own.print_sbatch or own.submit):
        raise UsageError("--sbatch is for --submit and --print_sbatch: add one of them")
    return own if chosen else None


def make_job(
    own: Namespace, args: Namespace, words: Sequence[str], repeats: Namespace | None
) -> dict[str, float | str]:
    """Print the script or the commands, or submit the job; return the table to print.

    Args:
        own: the flags of clusters.
        args: all flags of the run.
        words: the command line.
        repeats: the flags of repetitions, if the command has several seeds or folds.

    Raises:
        UsageError: If the number of processes is not known.
        RunError: If Slurm does not accept the job.
    """
    name = args.run_name or f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{args.model_name}"
    command = job_command(args, words, name, repeats is not None)
    if own.print_torchrun:
        print("\n".join(torchrun_lines(args, command)))
        return {}
    folder = Path(args.default_root_dir, "slurm")
    at_a_time = repeats.workers if repeats else 1
    script = sbatch_script(args, command, own.sbatch or [], folder / name, at_a_time)
    if own.print_sbatch:
        print(script, end="")
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{name}.sbatch") as file:
        file.write(script.encode(errors="surrogateescape"))  # words may have bytes that are no text
    job = submit(folder / f"{name}.sbatch")
    return {"job": job, "script": str(folder / f"{name}.sbatch"), "output": str(folder / f"{name}-{job}.log")}


def job_command(args: Namespace, words: Sequence[str], name: str, repeats: bool) -> list[str]:
    """Return the command of the job, which starts a run of fit or resumes it: a job may be requeued at any time."""
    own = [f"--{flag}" for flag in OWN]
    kept, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        if word == "--sbatch":
            rest = list(dropwhile(lambda each: not each.startswith("-"), rest))
        elif word.partition("=")[0] not in own:
            kept.append(word)
    is_trial = args.debug or args.fast_dev_run  # neither is resumed
    if args.command == "fit" and args.ckpt_path is None and not is_trial:
        kept += [] if args.run_name else ["--run_name", name]
        kept += [] if repeats else ["--ckpt_path", "auto"]
    return [sys.argv[0], *kept]


def processes(args: Namespace) -> int:
    """Return the number of processes of a node.

    Raises:
        UsageError: If it depends on the node.
    """
    if isinstance(args.devices, list):
        return len(args.devices)
    if args.devices == "auto":
        return 1
    if isinstance(args.devices, str) or args.devices < 1:
        raise UsageError(f"--devices {args.devices} depends on the node: give the number of devices of each node")
    return int(args.devices)


def sbatch_script(args: Namespace, command: Sequence[str], more: Sequence[str], log: Path, at_a_time: int) -> str:
    """Return the Slurm script of a command.

    Args:
        args: all flags of the run.
        command: the program and its words.
        more: options of sbatch, which win over those of the flags.
        log: path of the output, without the number of the job.
        at_a_time: number of runs that share the node.
    """
    number = processes(args)
    own = {
        "--job-name": log.name,
        "--nodes": str(args.num_nodes),
        "--ntasks-per-node": str(number),
        "--cpus-per-task": str((getattr(args, "num_workers", 0) + 1) * at_a_time),
        "--gres": f"gpu:{number * at_a_time}" if args.accelerator in ("gpu", "cuda") else "",
        "--signal": f"USR1@{NOTICE}",
        "--requeue": None,
        "--open-mode": "append",
        "--output": f"{log}-".replace("%", "%%") + "%j.log",
    }
    given = {option.partition("=")[0] for option in more}
    lines = [name if value is None else f"{name}={value}" for name, value in own.items() if value != ""]
    lines = [line for line in lines if line.partition("=")[0] not in given]
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {quoted(line)}" for line in [*lines, *more]),
            "",
            f"srun {shlex.join([sys.executable, *command])}",
            "",
        ]
    )


def quoted(option: str) -> str:
    """Return an option as a line of ``#SBATCH`` takes it: its quotes are not those of a shell."""
    name, sign, value = option.partition("=")
    if not re.search(r"[\s\\\"'#]", value):
        return option
    return f'{name}{sign}"' + re.sub(r'([\\"#])', r"\\\1", value) + '"'


def torchrun_lines(args: Namespace, command: Sequence[str]) -> list[str]:
    """Return the torchrun command of each node."""
    number, words = processes(args), shlex.join(command)
    if args.num_nodes == 1:
        return [f"torchrun --standalone --nproc_per_node={number} {words}"]
    together = f"--nproc_per_node={number} --master_addr=$MASTER_ADDR --master_port={PORT} {words}"
    nodes = range(args.num_nodes)
    return [f"torchrun --nnodes={args.num_nodes} --node_rank={node} {together}" for node in nodes]


def submit(script: Path) -> str:
    """Submit a script to Slurm, and return the number of the job.

    Raises:
        RunError: If there is no Slurm, or it does not accept the script, or prints no number.
    """
    try:
        command = ["sbatch", "--parsable", str(script)]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except FileNotFoundError as error:
        raise RunError("--submit: there is no sbatch on this machine; --print_sbatch prints the script") from error
    answer = " ".join((result.stderr.strip() or result.stdout).split())
    if result.returncode != 0:
        raise RunError(f"--submit: {answer or f'sbatch {script} ended with status {result.returncode}'}")
    numbers = re.findall(r"^(\d+)(?:;.*)?$", result.stdout, re.MULTILINE)  # a site may print lines of its own before
    if not numbers:
        raise RunError(f"--submit: sbatch {script} printed no number of a job ({answer}); squeue --me lists your jobs")
    return str(numbers[-1])
