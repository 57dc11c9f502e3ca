"""Shared by the benchmarks: a baked project, a terminal, the description of the machine, sections of the report."""

import fcntl
import os
import platform
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench`. Only the ratios can be compared between machines: all were measured in turns.
"""


@contextmanager
def baked(*answers: str) -> Iterator[Path]:
    """Bake a project with these answers (NAME=VALUE) and return its folder, which is removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        bake = [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input", "--output-dir", folder, *answers]
        subprocess.run(bake, check=True, capture_output=True, env=os.environ | {"HOME": folder})
        (project,) = (path for path in Path(folder).iterdir() if (path / "main.py").exists())
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as users have it
        yield project


def run_on_terminal(argv: list[str], folder: Path, **environment: str) -> str:
    """Run Python on a terminal, where a progress bar is drawn, and return its output; exit if it fails."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))  # rows and columns
    process = subprocess.Popen(
        [sys.executable, *argv], cwd=folder, stdin=slave, stdout=slave, stderr=slave, env=os.environ | environment
    )
    os.close(slave)
    shown = []

    def drain() -> None:
        try:
            while part := os.read(master, 1 << 16):
                shown.append(part)
        except OSError:  # the other side is closed
            pass

    thread = threading.Thread(target=drain)
    thread.start()
    status = process.wait()
    thread.join()
    os.close(master)
    output = b"".join(shown).decode()
    if status:
        sys.exit(output)
    return output


def machine(*packages: str) -> str:
    """Return the machine and the versions of Python and of these packages."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    cores = f"{os.cpu_count()} cores ({platform.system()}, {platform.machine()})"
    return f"{cores}, Python {platform.python_version()}, {versions}"


def write_section(file: Path, title: str, content: str) -> None:
    """Print a section of the report, and write it: in place of the one with its title, or at the end."""
    section = f"## {title}\n\n{content.strip()}\n"
    place = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    text, found = place.subn(lambda _: f"{section}\n", file.read_text() if file.exists() else HEAD)
    file.write_text(text.rstrip() + "\n" if found else f"{text.rstrip()}\n\n{section}")
    print(section)
