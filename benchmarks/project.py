"""What the benchmarks share: a baked project, the words on the machine, sections of the report."""

import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench`. The ratios are what counts: machines differ, and these were measured in turns.
"""


@contextmanager
def baked(*answers: str) -> Iterator[Path]:
    """Give a project with these answers (NAME=VALUE), for as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        bake = [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input", "--output-dir", folder, *answers]
        subprocess.run(bake, check=True, capture_output=True, env=os.environ | {"HOME": folder})
        (project,) = (path for path in Path(folder).iterdir() if (path / "main.py").exists())
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as users have it
        yield project


def machine(*packages: str) -> str:
    """Return on what was measured."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    cores = f"{os.cpu_count()} cores ({platform.system()}, {platform.machine()})"
    return f"{cores}, Python {platform.python_version()}, {versions}"


def write_section(file: Path, title: str, content: str) -> None:
    """Write a section of the report, in the place of the one with its title or at the end, and print it."""
    section = f"## {title}\n\n{content.strip()}\n"
    place = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    text, found = place.subn(lambda _: f"{section}\n", file.read_text() if file.exists() else HEAD)
    file.write_text(text.rstrip() + "\n" if found else f"{text.rstrip()}\n\n{section}")
    print(section)
