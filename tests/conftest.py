import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests.warm import is_warm, server

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["tomllib"]
# Tests run on every core already: threads of torch that wait for each other make them many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"


def popen(command, *, cold=False, **kwargs):
    """Start a process that takes signals, also where the tests ignore them, as in the background of a script.

    A script starts where Lightning is imported; with ``cold`` by Python from the beginning.
    """
    if not cold and kwargs.get("env") and is_warm(command, kwargs["env"], **kwargs):
        return server.start(command, **kwargs)
    ignored = [each for each in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(each) == signal.SIG_IGN]
    try:
        for signum in ignored:
            signal.signal(signum, signal.SIG_DFL)
        return subprocess.Popen(command, **kwargs)
    finally:
        for signum in ignored:
            signal.signal(signum, signal.SIG_IGN)


def run(command, *, timeout=600, cold=False, **kwargs):
    """Run a process to its end; return its status and output as ``subprocess.run`` does."""
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        process = popen(command, cold=cold, stdin=subprocess.DEVNULL, stdout=out, stderr=err, **kwargs)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(command, status, out.read(), err.read())


def missing_server(reason):
    """Skip a test for the lack of a server; or fail it, where CI has said that every server is there."""
    (pytest.fail if os.environ.get("LIT_REQUIRE_SERVERS") == "1" else pytest.skip)(reason)


class Project:
    """A baked project, and its command line."""

    def __init__(self, path):
        self.path = path

    def files(self):
        return {str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file()}

    def python(self, *argv, cwd=None, timeout=600, cold=False, **environment):
        """Run Python on ``argv`` in the project; ``main.py`` and such stand for its own files."""
        argv = [
            str(self.path / word) if word.endswith(".py") and (self.path / word).exists() else word for word in argv
        ]
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PL_", "PYTEST_", "PYTHONPATH", "WANDB_"))
        }
        # Two tests run at a time on few cores, and a project imported from must not fill with caches.
        clean |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return run([sys.executable, *argv], cwd=cwd or self.path, env=clean | environment, timeout=timeout, cold=cold)

    def run(self, *argv, **kwargs):
        """Run main.py, which must succeed; return its table."""
        result = self.python("main.py", "--enable_progress_bar", "no", *argv, **kwargs)
        assert result.returncode == 0, result.stdout + result.stderr
        return dict(line.split() for line in result.stdout.splitlines() if len(line.split()) == 2)


@pytest.fixture(scope="session")
def bake(cookies_session):
    """Return a function that bakes a project with the given answers."""

    def bake_project(**answers):
        result = cookies_session.bake(extra_context=answers)
        assert result.exit_code == 0, result.exception
        return Project(result.project_path)

    return bake_project


@pytest.fixture(scope="session")
def mypy_cache(tmp_path_factory):
    """A folder with the types of torch and others, which mypy reads for half a minute: those of ``make check``."""
    folder = tmp_path_factory.mktemp("mypy")
    if (ROOT / "build" / "mypy").is_dir():
        shutil.copytree(ROOT / "build" / "mypy", folder, dirs_exist_ok=True)
    return str(folder)


@pytest.fixture(scope="session")
def project(bake):
    """The project of the default answers, for tests that leave it as it is."""
    return bake()


def cookiecutter(*argv, home, template=ROOT, **kwargs):
    """Run cookiecutter on the template, with its replays and settings below ``home``."""
    command = [sys.executable, "-m", "cookiecutter", str(template), *argv]
    environment = os.environ | {"HOME": str(home)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, **kwargs)


def template_files():
    """Return the files of the template, as git has them or would take them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "."]
    listed = subprocess.run(command, cwd=TEMPLATE, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name and (TEMPLATE / name).exists()}


def options():
    """Return every (option, value) of cookiecutter.json by which the files differ."""
    content = json.loads((ROOT / "cookiecutter.json").read_text())
    return [
        (name, value)
        for name, default in content.items()
        if not name.startswith("_") and isinstance(default, (list, bool)) and name != "init_git"
        for value in (default if isinstance(default, list) else [True, False])
    ]
