"""The record of a run, run.json: what it was started with and by which code, and how it has ended."""

import json
import os
import platform
import shlex
import subprocess
import sys
from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

from harness import found
from harness.files import whole_file

RECORD_FILE = "run.json"
PATCH_FILE = "uncommitted.patch"  # what git had not committed when the run began
PATCH_LIMIT = 1_000_000  # bytes of a patch that is kept
GIT_TIME = 0.08  # seconds that a start waits for git
LEAST = 0.005  # of them for each command but the first
FRESH = 60.0  # seconds for which what git said is taken for true: short runs of one process ask once
# Below the project; programs that a repository names for its diffs are not run.
GIT = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
HEAD = (*GIT, "rev-parse", "HEAD", "--abbrev-ref", "HEAD")
STATUS = (*GIT, "status", "--porcelain", "--", ".")  # slow where many files are new
PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/")  # whatever is configured
DIFF = (*GIT, "diff", *PLAIN, "--binary", "--relative", "HEAD", "--", ".")
PACKAGES = {"torch": "torch", "pytorch-lightning": "pytorch_lightning", "numpy": "numpy"}  # modules by package
TYPES = {
    **{"begin": str, "packages": dict, "earlier": list, "monitor": str, "monitor_mode": str, "error": str},
    "fit_rows": int,
}
OF_A_START = ("begin", "end", "state", "commit", "dirty", "host")  # kept of earlier starts of a run


class Git:
    """Reads the state of the code by git, beside this process, from here on; runs in quick succession read it once.

    Attributes:
        known: what was read last in this process, and when.
        patch_file: where its patch was written.
    """

    known: ClassVar[tuple[float, dict[str, Any], bytes] | None] = None
    patch_file: ClassVar[Path | None] = None

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        if Git.known is not None and monotonic() - Git.known[0] < FRESH:
            return
        Git.known = Git.patch_file = None
        with suppress(OSError):  # no git
            for command in (HEAD, STATUS, DIFF):
                pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
                self._processes.append(subprocess.Popen(command, cwd=found.ROOT, **pipes))  # type: ignore[call-overload]

    def read(self) -> tuple[dict[str, Any], bytes]:
        """Return commit, branch and whether there are changes, None for what is not known in time; and the patch."""
        if Git.known is not None:
            return Git.known[1:]
        deadline = monotonic() + GIT_TIME
        outputs = [*(self._output(process, deadline) for process in self._processes), None, None, None]
        self.close()
        head, status, patch = outputs[:3]
        commit, branch, *_ = [*(head or b"").decode(errors="replace").split(), None, None]
        dirty = None if status is None else bool(status)
        code = {"commit": commit, "branch": None if branch == "HEAD" else branch, "dirty": dirty}
        Git.known = monotonic(), code, patch or b""
        return code, patch or b""

    def close(self) -> None:
        """End what still runs of git."""
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._processes = []

    @staticmethod
    def _output(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
        try:
            output, _ = process.communicate(timeout=max(deadline - monotonic(), LEAST))
        except subprocess.TimeoutExpired:
            return None
        return output if process.returncode == 0 else None


def write_begin(run_dir: Path, args: Namespace, git: Git, facts: Mapping[str, Any]) -> None:
    """Write run.json and the patch of a run that begins.

    Args:
        run_dir: its directory; an earlier start that it resumes is kept, as an entry of ``earlier``.
        args: all flags.
        git: knows the code.
        facts: more that is known of the run.

    Raises:
        OSError: If a file cannot be written.
    """
    before: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        before = read_record(run_dir)
    earlier = [*(before.get("earlier") or []), {name: before.get(name) for name in OF_A_START}] if before else []
    for start in earlier:
        if start.get("state") == "running":  # it was killed
            start["state"] = "stopped"
    code, patch = git.read()
    tags, notes = getattr(args, "tags", None), getattr(args, "notes", None)
    record = {
        **{"state": "running", "begin": now(), "end": None, "error": None},
        "command_line": shlex.join(["python", *sys.argv]),
        **code,
        "packages": {"python": platform.python_version(), **versions()},
        **{"host": platform.node(), "cpus": os.cpu_count(), "gpus": gpus()},
        "seed": getattr(args, "seed", None),
        **facts,
        **{"tags": tags.split(",") if tags else [], "notes": notes, "earlier": earlier},
    }
    (run_dir / PATCH_FILE).unlink(missing_ok=True)
    if patch and len(patch) < PATCH_LIMIT:
        if Git.patch_file is None or not Git.patch_file.exists():
            Git.patch_file = (run_dir / PATCH_FILE).absolute()
            with whole_file(Git.patch_file) as file:
                file.write(patch)
        record["patch"] = str(Git.patch_file)  # once for all runs of a process
    write_record(run_dir, record)


def write_end(run_dir: Path, error: BaseException | None) -> None:
    """Complete run.json when the run ends, as far as the machine lets it.

    Args:
        run_dir: directory of the run.
        error: what ends the run, or None if it is finished.
    """
    state = "finished" if error is None else "failed" if isinstance(error, Exception) else "stopped"
    text = f"{type(error).__name__}: {error}" if error is not None else ""
    add_facts(run_dir, {"state": state, "end": now(), "error": " ".join(text.split()) or None})


def add_facts(run_dir: Path, facts: Mapping[str, Any]) -> None:
    """Add facts to run.json, in place of others of these names, as far as the machine lets it."""
    with suppress(OSError, ValueError):
        write_record(run_dir, {**read_record(run_dir), **facts})


def read_record(run_dir: Path) -> dict[str, Any]:
    """Return the content of run.json.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged.
    """
    content = json.loads((run_dir / RECORD_FILE).read_bytes())
    is_right = isinstance(content, dict) and all(
        isinstance(content.get(name), kind | None) for name, kind in TYPES.items()
    )
    if not is_right or not all(isinstance(start, dict) for start in content.get("earlier") or []):
        raise ValueError(f"{RECORD_FILE} is not as it was written")
    return content


def write_record(run_dir: Path, record: Mapping[str, Any]) -> None:
    """Write run.json."""
    with whole_file(run_dir / RECORD_FILE) as file:
        file.write(json.dumps(record, indent=2, ensure_ascii=False, default=str).encode(errors="replace") + b"\n")


def identity(run_dir: Path) -> tuple[int, int] | None:
    """Return what tells one run.json from the next in a directory, or None if there is none."""
    with suppress(OSError):
        status = (run_dir / RECORD_FILE).stat()
        return status.st_ino, status.st_mtime_ns
    return None


def now() -> str:
    """Return the time, with that of the zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def versions() -> dict[str, str | None]:
    """Return the versions of the packages that this process has imported."""
    modules = {package: sys.modules.get(module) for package, module in PACKAGES.items()}
    return {package: str(module.__version__) if module else None for package, module in modules.items()}


def gpus() -> list[str]:
    """Return the names of the GPUs, if the run has touched one: to ask otherwise takes seconds."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return []
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
