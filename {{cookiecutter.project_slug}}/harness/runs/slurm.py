"""Slurm: which job this is, and how it is started again."""

import os
import subprocess


def job() -> str | None:
    """Return the number of the job that this process runs in, or None outside Slurm."""
    return os.environ.get("SLURM_JOB_ID")


def was_requeued() -> bool:
    """Return whether the job was started before."""
    return job() is not None and int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0


def requeue() -> str:
    """Let Slurm start the job again, and return what came of it as a sentence."""
    number = job()
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        number = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", str(number)], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        return f"job {number} could not be requeued: {' '.join(str(reason).split())}"
    return f"job {number} is requeued"
