"""Files for tools around a project: each is checked by its own linter, and its commands are run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import tomllib

BIN = Path(sys.executable).parent


@pytest.fixture(autouse=True)
def _cached_types(monkeypatch, mypy_cache):
    """mypy reads the types of torch once."""
    monkeypatch.setenv("MYPY_CACHE_DIR", str(mypy_cache))


def run(*command, cwd, status=0):
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout + result.stderr


def schema(name, file):
    run("check-jsonschema", "--builtin-schema", f"vendor.{name}", str(file), cwd=file.parent)


def supported():
    """Return the versions of Python that CI is to test: all of requires-python for which torch has wheels."""
    return ["3.10", "3.11", "3.12", "3.13", "3.14"]


def test_github_actions(bake):
    project = bake(ci="github")
    folder = project.path / ".github"
    schema("github-workflows", folder / "workflows" / "ci.yml")
    schema("dependabot", folder / "dependabot.yml")
    run("zizmor", "--offline", "--pedantic", "--quiet", str(folder), cwd=project.path)
    text = (folder / "workflows" / "ci.yml").read_text()
    assert all(re.search(r"@[0-9a-f]{40} # v\d", line) for line in text.splitlines() if "uses:" in line)
    assert f"python-version: {json.dumps(supported())}" in text
    commands = re.findall(r"- run: (.*?)(?: #.*)?$", text, re.MULTILINE)
    assert commands[-2:] == ["pre-commit run --all-files --show-diff-on-failure", "pytest"]  # both are run below


def test_gitlab_ci(bake):
    project = bake(ci="gitlab")
    schema("gitlab-ci", project.path / ".gitlab-ci.yml")
    schema("renovate", project.path / "renovate.json")
    assert f"PYTHON_VERSION: {json.dumps(supported())}" in (project.path / ".gitlab-ci.yml").read_text()


@pytest.mark.parametrize("license", ["MIT", "none"])
def test_docker(bake, license):
    project = bake(docker=True, license=license)
    run("hadolint", "--failure-threshold", "info", "Dockerfile", cwd=project.path)
    text = (project.path / "Dockerfile").read_text()
    for line in re.findall(r"^COPY ([^-].*) \./$", text, re.MULTILINE):
        assert all((project.path / file).is_file() for file in line.split())
    extras = set(tomllib.loads((project.path / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    assert {name for names in re.findall(r"\.\[(.*?)\]", text) for name in names.split(",")} <= extras
    content = json.loads((project.path / ".devcontainer" / "devcontainer.json").read_text())
    assert (project.path / ".devcontainer" / content["build"]["dockerfile"]).is_file()
    assert set(content["build"]["args"]) == set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))


def test_pre_commit(bake):
    project = bake(sweeps="both", init_git=True)
    env = os.environ | {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a"}
    if not (project.path / ".git").exists():
        subprocess.run(["git", "init", "-q"], cwd=project.path, check=True)
    subprocess.run(["git", "add", "-A"], cwd=project.path, check=True, env=env)
    output = run("pre-commit", "run", "--all-files", cwd=project.path)
    assert output.count("Passed") == 3
    (project.path / "models" / "bad.py").write_text('"""Bad."""\nimport os\nx: int = "a"\n')
    subprocess.run(["git", "add", "-A"], cwd=project.path, check=True, env=env)
    for hook in ("ruff-check", "ruff-format", "mypy"):
        run("pre-commit", "run", hook, "--files", "models/bad.py", cwd=project.path, status=1)


@pytest.mark.parametrize("sweeps", ["none", "optuna", "hydra"])
def test_make(bake, sweeps, tmp_path):
    project = bake(sweeps=sweeps)
    targets = re.findall(r"^(\w+) ", run("make", "help", cwd=project.path), re.MULTILINE)
    expected = ["help", "install", "train", "sweep", "test", "lint", "format"]
    assert targets == [name for name in expected if name != "sweep" or sweeps != "none"]
    if sweeps == "none":
        run("make", "lint", cwd=project.path)
        run("make", "format", cwd=project.path)
        run("make", "test", "FLAGS=-k contracts --collect-only", cwd=project.path)
        assert "test_loss" in run("make", "train", "FLAGS=--fast_dev_run", cwd=project.path)
    elif sweeps == "optuna":
        assert "1 trial" in run("make", "sweep", "FLAGS=--n_trials 1 --max_epochs 1", cwd=project.path)
    else:
        flags = "max_epochs=1 limit_train_batches=1"
        assert "learning_rate" in run("make", "sweep", f"FLAGS={flags}", cwd=project.path)


def test_agents(bake):
    project = bake(agents_md=True)
    text = (project.path / "AGENTS.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    commands = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    assert len(commands) == 10
    for command in commands:
        command = {"pytest": "pytest --collect-only"}.get(command, command)  # test_project.py runs the tests
        if not command.startswith("pip install"):
            run("bash", "-c", command, cwd=project.path)
    for name in re.findall(r"`(\w+(?:/\w*)*(?:\.\w+)?)`", text):
        if "/" in name or name.endswith(".py"):
            assert (project.path / name).exists(), name


def test_the_recipe_for_uv_is_valid(bake):
    text = (bake().path / "docs" / "install.md").read_text()
    (recipe,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    tool = tomllib.loads(recipe)["tool"]["uv"]
    assert tool["sources"]["torch"]["index"] == tool["index"][0]["name"]


def test_the_example_of_keys_can_be_loaded(bake):
    project = bake()
    example = (project.path / ".env.example").read_text().replace("#WANDB_API_KEY=", "WANDB_API_KEY=secret")
    (project.path / ".env").write_text(example)
    command = re.search(r"^(set -a; .*?); python", (project.path / "docs" / "install.md").read_text(), re.MULTILINE)[1]
    assert run("sh", "-c", f"{command}; echo $WANDB_API_KEY", cwd=project.path).strip() == "secret"
    assert ".env" in (project.path / ".gitignore").read_text().splitlines()
