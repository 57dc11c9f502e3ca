"""The processes of a run, the Slurm job they belong to, and the environment variables they share."""

import os
import subprocess
import sys

# Environment variables that a process sets for its child processes.
FIRST_PID = "LIT_FIRST_PID"  # number of the first process of a distributed run
CHECKPOINT = "LIT_CHECKPOINT"  # the file that the first process found for --ckpt_path
RUN_DIR = "LIT_RUN_DIR"  # directory of the run, chosen by the process that starts it
GROUP = "LIT_RUN_GROUP"  # name under which trackers group the runs of a sweep, or of several seeds
ENDS_WITH_PARENT = "LIT_ENDS_WITH_PARENT"  # whether the process ends when the one that started it does


def is_first_process() -> bool:
    """Return whether this process is the first of a distributed run, which writes and prints."""
    ranks = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "NODE_RANK")
    # Processes that Lightning forks have the rank in Lightning alone.
    lightning = getattr(sys.modules.get("lightning_utilities.core.rank_zero"), "rank_zero_only", None)
    return getattr(lightning, "rank", 0) == 0 and all(os.environ.get(name, "0") in ("0", "") for name in ranks)


def was_started_by_first() -> bool:
    """Return whether the first process of a distributed run has started this one, as Lightning does."""
    return not is_first_process() and os.environ.get(FIRST_PID) == str(os.getppid())


def mark_first() -> None:
    """Set the number of this process in the environment of its children, if it is the first of a run."""
    if is_first_process():
        os.environ[FIRST_PID] = str(os.getpid())


def job() -> str | None:
    """Return the number of the Slurm job of this process, or None outside Slurm."""
    return os.environ.get("SLURM_JOB_ID")


def was_requeued() -> bool:
    """Return whether the Slurm job was started before."""
    return job() is not None and int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0


def requeue() -> str:
    """Requeue the Slurm job, and return a sentence with the outcome."""
    number = job()
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        number = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", str(number)], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        return f"job {number} could not be requeued: {' '.join(str(reason).split())}"
    return f"job {number} is requeued"
