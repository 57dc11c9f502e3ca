"""Remove folders that nothing was written to, make a repository if that was asked for, and say what to do next."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ANSWERS = r"""{{ cookiecutter | tojson }}"""  # JSON: what was typed stays text
UNCHOSEN = r"""{{ cookiecutter | unchosen | tojson }}"""

NO_NAME = """git does not know your name: git config --global user.name "..." and user.email, then git commit"""


def remove_empty(folder: str) -> None:
    """Remove a folder and those in it, as far as they are empty: files of the user's own may be there."""
    for path, _, _ in os.walk(folder, topdown=False):
        if not os.listdir(path):
            Path(path).rmdir()


def make_repository() -> str:
    """Make the working directory a git repository with a first commit, and return what was done, or why it was not."""
    if shutil.which("git") is None:
        return "git: no repository, since git is not installed"
    if git("rev-parse", "--is-inside-work-tree").returncode == 0:
        return "git: no repository of its own, since it lies within another one"
    if git("init", "--quiet").returncode or git("add", "--all").returncode:
        return "git: no repository, since git init and git add do not work here"
    if git("var", "GIT_COMMITTER_IDENT").returncode:
        return f"git: no commit yet: {NO_NAME}"
    if git("commit", "--quiet", "--message", "Begin with a project of lit-template").returncode:
        return "git: no commit yet: git commit does not work here, and says why when you try it"
    return "git: a repository with a first commit"


def git(*words: str) -> "subprocess.CompletedProcess[bytes]":
    """Run git on the working directory, whatever repository the environment names."""
    environment = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    return subprocess.run(["git", *words], stdin=subprocess.DEVNULL, capture_output=True, env=environment)


if __name__ == "__main__":
    answers = json.loads(ANSWERS)
    for name in json.loads(UNCHOSEN):
        if name.endswith("/"):
            remove_empty(name)
    by_cruft = "_commit" in answers  # which adds a file to a new project after this, for the first commit to have
    if answers["init_git"] and not by_cruft:
        print(make_repository())
    # To compare, cruft bakes in temporary folders; what it prints then may be a patch.
    if not by_cruft or Path(tempfile.gettempdir()).resolve() not in Path.cwd().parents:
        print("Next:", f"cd {answers['project_slug']}", "pip install -e .", "python main.py", sep="\n  ")
