"""A project's life after its birth: from where it is baked, under git, and kept up to date with cruft."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT, TEMPLATE, cookiecutter, template_files, tomllib

NAMED = ("-c", "user.name=Zoë", "-c", "user.email=zoe@example.com")
SLUG = "my-lightning-project"
PROGRESS, MINE = "harness/training/progress.py", "harness/flags.py"  # files that the template, and the user, edit
FIRST = "eabf7c61cc434157b6963e4c69086cb482d4a066"  # of version 0.1.0


def run(*command, cwd, home=None, **environment):
    """Run a command that must succeed, and return what it prints."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    clean |= {"HOME": str(home or cwd), "GIT_CONFIG_NOSYSTEM": "1"} | environment
    result = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout + result.stderr


def git(*words, cwd):
    return run("git", *NAMED, *words, cwd=cwd)


def cruft(*words, cwd):
    return run(sys.executable, "-c", "import sys; from cruft._cli import app; app(sys.argv[1:])", *words, cwd=cwd)


def commit(folder, message):
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--message", message, cwd=folder)


def copy_of_this(folder):
    """Copy the files of this template as git has them, or would take them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


@pytest.fixture
def template(tmp_path):
    """A repository with this template, as its users clone it, with the tag v1."""
    folder = tmp_path / "lit-template"
    copy_of_this(folder)
    git("init", "--quiet", cwd=folder)
    commit(folder, "One")
    git("tag", "v1", cwd=folder)
    return folder


def edit(file, old, new):
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


LOUDER = '''def louder(text: str) -> str:
    """Return a text in capitals."""
    return text.upper()


'''
PAINT = '[tool.paint]\ncolour = "{{ cookiecutter.colour | louder }}"\n\n'


def released(template):
    """Change the template: lines of files, a new file, a new option, and code that cookiecutter loads."""
    folder = template / TEMPLATE.name
    edit(folder / "README.md", "## The command line\n", "## All commands\n")
    edit(folder / PROGRESS, "INTERVAL = 0.2", "INTERVAL = 0.25")
    (folder / "harness" / "shapes.py").write_text('"""A new file of the template."""\n')
    edit(
        template / "cookiecutter.json", '  "init_git": false,\n', '  "init_git": false,\n  "colour": ["red", "blue"],\n'
    )
    edit(template / "cookiecutter.json", '"_version": "', '"_version": "1.')
    answers = template / "lit_template" / "answers.py"
    edit(answers, "(as_slug, ", "(as_slug, louder, ")
    edit(answers, "def toml(", f"{LOUDER}def toml(")
    edit(folder / "pyproject.toml", "[tool.lit-template]", f"{PAINT}[tool.lit-template]")
    commit(template, "Two")
    git("tag", "v2", cwd=template)


@pytest.mark.parametrize("options", [{}, {"sweeps": "both", "init_git": True, "author_name": '"Zoë" {{ 1 }} 🚀'}])
def test_cruft_keeps_a_project_up_to_date(template, tmp_path, options):
    words = ["create", "--no-input", "--extra-context", json.dumps(options), "--checkout", "v1", str(template)]
    cruft(*words, cwd=tmp_path)
    project = tmp_path / SLUG
    assert not (project / ".git").exists()  # cruft adds a file after all that a hook could do
    git("init", "--quiet", cwd=project)
    commit(project, "Born")
    assert "SUCCESS" in cruft("check", "--checkout", "v1", cwd=project)
    assert cruft("diff", cwd=project).strip() == ""

    # Its user changes it, and the template goes on.
    (project / "models" / "mine.py").write_text((project / "models" / "my_model.py").read_text())
    edit(project / "README.md", "## When a run stops\n", "## When my run stops\n")
    (project / MINE).write_text((project / MINE).read_text() + "\nMINE = 1\n")
    commit(project, "Mine")
    assert "MINE = 1" in cruft("diff", cwd=project)
    released(template)
    cruft("update", "--skip-apply-ask", "--checkout", "v2", cwd=project)

    readme = (project / "README.md").read_text()
    assert "## All commands\n" in readme
    assert "## When my run stops\n" in readme
    assert (project / MINE).read_text().endswith("MINE = 1\n")
    assert "INTERVAL = 0.25" in (project / PROGRESS).read_text()
    assert (project / "harness" / "shapes.py").exists()
    assert (project / "models" / "mine.py").exists()
    metadata = tomllib.loads((project / "pyproject.toml").read_text())
    assert metadata["tool"]["paint"] == {"colour": "RED"}
    assert metadata["tool"]["lit-template"]["version"].startswith("1.")
    assert metadata["project"]["authors"][0]["name"] == options.get("author_name", "Your Name")
    assert not git("diff", "--diff-filter=U", "--name-only", cwd=project).strip()
    commit(project, "Updated")
    assert "SUCCESS" in cruft("check", "--checkout", "v2", cwd=project)
    assert (project / "sweep_optuna.py").exists() == (options.get("sweeps") == "both")


def test_a_conflict_is_an_ordinary_one(template, tmp_path):
    cruft("create", "--no-input", "--checkout", "v1", str(template), cwd=tmp_path)
    project = tmp_path / SLUG
    git("init", "--quiet", cwd=project)
    commit(project, "Born")
    edit(project / PROGRESS, "INTERVAL = 0.2", "INTERVAL = 3.0")
    commit(project, "Mine")
    released(template)
    cruft("update", "--skip-apply-ask", "--checkout", "v2", cwd=project)
    assert git("diff", "--diff-filter=U", "--name-only", cwd=project).split() == [PROGRESS]
    text = (project / PROGRESS).read_text()
    assert re.search(r"<<<<<<< .*INTERVAL = 3\.0.*=======\n.*INTERVAL = 0\.25.*>>>>>>> ", text, re.DOTALL)


def test_a_project_that_was_baked_is_linked(template, tmp_path):
    """cruft takes up what cookiecutter has made."""
    assert cookiecutter("--no-input", template=template, home=tmp_path, cwd=tmp_path).returncode == 0
    project = tmp_path / SLUG
    git("init", "--quiet", cwd=project)
    commit(project, "Born")
    cruft("link", "--no-input", "--checkout", "v1", str(template), cwd=project)
    assert cruft("diff", cwd=project).strip() == ""
    commit(project, "Linked")
    released(template)
    cruft("update", "--skip-apply-ask", "--checkout", "v2", cwd=project)
    assert (project / "harness" / "shapes.py").exists()


FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


@pytest.mark.slow
def test_a_project_of_the_first_version_is_brought_up_to_date(tmp_path):
    """By docs/upgrading.md, word for word; but for pip, which would ask the network."""
    template = tmp_path / "lit-template"
    template.mkdir()
    archive = subprocess.run(["git", "archive", FIRST], cwd=ROOT, capture_output=True)
    if archive.returncode:
        pytest.skip("this clone is too shallow: it lacks version 0.1.0")
    subprocess.run(["tar", "x"], cwd=template, input=archive.stdout, check=True)
    git("init", "--quiet", cwd=template)
    commit(template, "0.1.0")
    git("tag", "v0.1.0", cwd=template)
    cruft("create", "--no-input", "--checkout", "v0.1.0", str(template), cwd=tmp_path)
    for path in template.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    copy_of_this(template)
    commit(template, "Now")

    # Its user adds a model and a callback, and trains.
    project = tmp_path / SLUG
    git("init", "--quiet", cwd=project)
    commit(project, "Born")
    quiet = {"PL_TRAINER_ENABLE_PROGRESS_BAR": "no", "OMP_NUM_THREADS": "1"}
    run(sys.executable, "main.py", "new", "model", "my_net", cwd=project)
    edit(project / "train.py", "build(args, run_dir, callbacks)\n", "build(args, run_dir, [*callbacks, Timer()])\n")
    edit(project / "train.py", "\nimport torch\n", "\nimport torch\nfrom pytorch_lightning.callbacks import Timer\n")
    run(sys.executable, "main.py", "--model_name", "my_net", "--max_epochs", "1", cwd=project, **quiet)
    commit(project, "Mine")

    bin_of(tmp_path)
    page = (ROOT / "docs" / "upgrading.md").read_text()
    quiet |= {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
    printed = {}
    for kind, text in FENCE.findall(page):
        if kind == "diff":  # of train.py
            old, new = (line[1:] for line in text.rstrip().splitlines())
            edit(project / "train.py", old, new)
            edit(project / "train.py", "import pytorch_lightning as pl\n", TIMER)
        for line in text.splitlines() if kind == "bash" else ():
            printed[line] = run("bash", "-c", line, cwd=project, home=tmp_path, **quiet)
    assert "Timer()" in (project / "my_edits.txt").read_text()
    assert not git("diff", "--diff-filter=U", "--name-only", cwd=project).strip()
    assert not [path.name for path in project.glob("*.py") if path.name not in ("main.py", "train.py")]
    assert "from harness.flags import positive_float\n" in (project / "models" / "my_net.py").read_text()
    assert "test_accuracy" in printed["python main.py test --ckpt_path best"]
    assert "val_loss" in printed["python main.py --ckpt_path last --max_epochs 2"]
    assert re.search(r"\d+ passed", printed["pytest"])
    assert "failed" not in printed["pytest"]


TIMER = "import pytorch_lightning as pl\nfrom pytorch_lightning.callbacks import Timer\n"


def bin_of(folder):
    """Make a folder of commands: python and those of its packages that a user has; pip does nothing."""
    (folder / "bin").mkdir()
    for name, words in {
        "python": "",
        "pytest": "-m pytest",
        "cruft": "-c 'import sys; from cruft._cli import app; app(sys.argv[1:])'",
        "pip": "-c pass",
    }.items():
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (folder / "bin" / name).chmod(0o755)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("source", ["path", "zip", "git", "uvx"])
def test_it_works_from_anywhere(template, tmp_path, source):
    if source == "zip":
        git("archive", "--prefix=lit-template-1/", "--output=../lit-template.zip", "v1", cwd=template)
        template = tmp_path / "lit-template.zip"
    address = f"git+file://{template}" if source == "git" else str(template)
    home = tmp_path / "home"
    command = [sys.executable, "-m", "cookiecutter"]
    if source == "uvx":
        command = [
            sys.executable,
            "-m",
            "uv",
            "--system-certs",
            "tool",
            "run",
            "--python",
            sys.executable,
            "cookiecutter",
        ]
        tried = subprocess.run(
            [*command, "--version"], env=os.environ | {"HOME": str(home)}, capture_output=True, text=True
        )
        if "Failed to fetch" in tried.stderr:
            pytest.skip(f"uv does not get at PyPI: {tried.stderr}")
    run(*command, address, "--no-input", "sweeps=optuna", cwd=tmp_path, home=home, UV_PYTHON_DOWNLOADS="never")
    assert cookiecutter("--no-input", "sweeps=optuna", "-o", "plain", home=home, cwd=tmp_path).returncode == 0
    assert files(tmp_path / SLUG) == files(tmp_path / "plain" / SLUG)


def test_without_hooks_the_files_are_the_same(tmp_path):
    for folder, words in (("with", []), ("without", ["--accept-hooks", "no"])):
        assert cookiecutter("--no-input", "-o", folder, *words, home=tmp_path, cwd=tmp_path).returncode == 0
    assert files(tmp_path / "with") == files(tmp_path / "without")


def bake_with_git(cwd, **environment):
    """Bake into a folder, with init_git, as a user who has told git nothing; return what is said of it."""
    home = cwd / "home"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    kept |= {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": str(home / "gitconfig")} | environment
    command = [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input", "init_git=yes"]
    result = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    said, *following = result.stdout.splitlines()
    assert following == ["Next:", f"  cd {SLUG}", "  pip install -e .", "  python main.py"]
    assert not result.stderr
    return said


def test_git_is_initialised_if_asked_for(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "gitconfig").write_text("[user]\nname = Zoë\nemail = zoe@example.com\n")
    assert bake_with_git(tmp_path) == "git: a repository with a first commit"
    listed = git("ls-files", cwd=tmp_path / SLUG).split()
    assert {"main.py", "data/digits.npz", ".gitignore"} <= set(listed)
    assert set(listed) <= template_files()
    assert git("status", "--porcelain", cwd=tmp_path / SLUG) == ""


def test_git_without_a_name_makes_no_commit(tmp_path):
    nobody = {"EMAIL": "", "GIT_AUTHOR_NAME": "", "GIT_COMMITTER_NAME": ""}
    assert bake_with_git(tmp_path, **nobody).startswith("git: no commit yet: git does not know your name: git config")
    assert (tmp_path / SLUG / ".git").is_dir()


def test_a_commit_that_git_refuses_is_told(tmp_path):
    """As where commits are to be signed, and there is no key."""
    (tmp_path / "home").mkdir()
    config = "[user]\nname = Zoë\nemail = zoe@example.com\n[commit]\ngpgsign = true\n[gpg]\nprogram = false\n"
    (tmp_path / "home" / "gitconfig").write_text(config)
    assert bake_with_git(tmp_path) == "git: no commit yet: git commit does not work here, and says why when you try it"


def test_git_within_another_repository_is_left_alone(tmp_path):
    git("init", "--quiet", cwd=tmp_path)
    assert bake_with_git(tmp_path) == "git: no repository of its own, since it lies within another one"
    assert not (tmp_path / SLUG / ".git").exists()


def test_no_git_is_no_failure(tmp_path):
    (tmp_path / "bin").mkdir()
    assert bake_with_git(tmp_path, PATH=str(tmp_path / "bin")) == "git: no repository, since git is not installed"


def test_a_repository_named_by_the_environment_is_not_touched(tmp_path):
    """As in a hook of git's own."""
    other = tmp_path / "other"
    other.mkdir()
    git("init", "--quiet", cwd=other)
    before = files(other)
    bake_with_git(tmp_path, GIT_DIR=str(other / ".git"), GIT_WORK_TREE=str(other))
    assert files(other) == before


def test_unasked_git_is_not_called(tmp_path):
    assert cookiecutter("--no-input", home=tmp_path, cwd=tmp_path).returncode == 0
    assert not (tmp_path / SLUG / ".git").exists()
