"""Programs start where Python has no POSIX: their modules are imported, and help is printed, without it."""

import pytest

# What Python for Windows lacks, of modules that a project or its libraries could use.
WITHOUT_POSIX = """
import importlib, os, runpy, signal, sys
from pathlib import Path

import argcomplete, hydra, optuna, pytorch_lightning, sqlalchemy, torch, yaml  # their own business
for name in ("fcntl", "grp", "pty", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in ("fork", "geteuid", "getuid", "getpgid", "killpg", "setsid", "sched_getaffinity", "waitid", "uname"):
    delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM", "pthread_sigmask", "setitimer"):
    delattr(signal, name)

root = Path(sys.argv[1])
sys.path.insert(0, str(root))
"""
IMPORT_ALL = """
files = [*root.glob("*.py"), *root.glob("harness/**/*.py"), *root.glob("models/*.py"), *root.glob("data/*.py")]
for file in sorted(files):
    if "plugins" not in file.parts:
        words = file.relative_to(root).with_suffix("").parts
        importlib.import_module(".".join(words).removesuffix(".__init__"))
print(len(files), "modules")
"""
HELP = """
script = sys.argv[2]
sys.argv = [str(root / script), "--help"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def both(bake):
    return bake(project_slug="portable", sweeps="both")


def test_every_module_is_imported_without_posix(both):
    result = both.python("-c", WITHOUT_POSIX + IMPORT_ALL, str(both.path))
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[-2]) > 90


@pytest.mark.parametrize("script", ["main.py", "sweep_optuna.py", "sweep_hydra.py"])
def test_help_is_printed_without_posix(both, script):
    result = both.python("-c", WITHOUT_POSIX + HELP, str(both.path), script)
    assert result.returncode == 0, result.stderr
    assert "model_name" in result.stdout
