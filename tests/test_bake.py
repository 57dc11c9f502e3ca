"""What the template writes for which answers."""

import json
import os
import re
import subprocess
import sys

import pytest

from hooks.post_gen_project import unchosen
from tests.conftest import ROOT, TEMPLATE, options, template_files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def cookiecutter(*argv, home, **kwargs):
    command = [sys.executable, "-m", "cookiecutter", str(ROOT), *argv]
    environment = os.environ | {"HOME": str(home)}  # where cookiecutter keeps the last answers
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, **kwargs)


def answers(**changed):
    defaults = {"example_models": True, "license": "MIT", "sweeps": "none"}
    return defaults | changed


def chosen_files(**changed):
    """Return the files of the template that a project with these answers has."""
    gone = unchosen(answers(**changed))
    return {file for file in template_files() if not any(file == name or file.startswith(f"{name}/") for name in gone)}


def rendered(text, sweeps):
    """Return Python code of the template as the project has it: with what belongs to its sweeps, without the rest."""
    block = re.compile(r" *# \{% if cookiecutter\.sweeps (.*?) %\}\n(.*?) *# \{% endif %\}\n", re.DOTALL)
    return block.sub(lambda found: found[2] if eval(f"{sweeps!r} {found[1]}") else "", text)


@pytest.mark.parametrize(("option", "value"), options())
def test_a_choice_removes_its_own_files_only(bake, option, value):
    project = bake(**{option: value})
    assert project.files() == chosen_files(**{option: value})
    for file in project.files():
        if file.endswith(".npz"):
            assert (project.path / file).read_bytes() == (TEMPLATE / file).read_bytes()
        elif file.endswith(".py"):
            text = rendered((TEMPLATE / file).read_text(), answers(**{option: value})["sweeps"])
            assert (project.path / file).read_text() == text


@pytest.mark.parametrize(("option", "value"), options())
def test_nothing_is_left_unrendered(bake, option, value):
    project = bake(**{option: value})
    for file in project.files() - {"data/digits.npz"}:
        text = (project.path / file).read_text()
        assert not re.search(r"cookiecutter|\{\{|\{%", text), file
        assert "\n\n\n\n" not in text, file
        assert text.endswith("\n"), file
        assert not text.endswith("\n\n"), file


@pytest.mark.parametrize("sweeps", ["none", "optuna", "hydra", "both"])
def test_without_the_examples_nothing_speaks_of_them(bake, sweeps):
    project = bake(example_models=False, sweeps=sweeps)
    for file in project.files() - {"data/digits.npz"}:
        text = (project.path / file).read_text().lower()
        assert not re.search(r"\bgan\b|litmnist|goodgan|pillow|layer_1_dim", text), file


def test_without_sweeps_nothing_speaks_of_them(bake):
    project = bake(sweeps="none")
    for file in project.files() - {"data/digits.npz"}:
        text = (project.path / file).read_text().lower()
        assert not re.search(r"sweep|optuna|search_space|plotly|hydra|multirun", text), file


def test_with_one_kind_of_sweeps_nothing_speaks_of_the_other(bake):
    for sweeps, other in (("optuna", r"hydra|multirun|omegaconf"), ("hydra", r"optuna|search_space|plotly|\bstudy\b")):
        project = bake(sweeps=sweeps)
        for file in project.files() - {"data/digits.npz"}:
            assert not re.search(other, (project.path / file).read_text().lower()), file


@pytest.mark.parametrize("license_name", ["MIT", "Apache-2.0", "BSD-3-Clause", "none"])
def test_the_licence_is_the_one_chosen(bake, license_name):
    project = bake(license=license_name, author_name="Zoë O'Brien")
    metadata = tomllib.loads((project.path / "pyproject.toml").read_text())["project"]
    assert metadata.get("license", "none") == license_name
    if license_name != "none":
        text = (project.path / "LICENSE").read_text()
        assert "Zoë O'Brien" in text
        assert {"MIT": "MIT License", "Apache-2.0": "Apache License", "BSD-3-Clause": "BSD 3-Clause"}[
            license_name
        ] in text


@pytest.mark.parametrize(
    "text",
    [
        "O'Brien",
        '"Bob" Smith',
        "back\\slash \\n",
        "Zoë",
        "山田",
        "🚀 to the moon",
        "👩\u200d🚀",
        "50 % & #1",
        "<b>",
        'ends in \\"',
    ],
)
def test_ordinary_names_come_out_as_typed(bake, text):
    project = bake(author_name=text, description=text, project_name=text, project_slug="name-test")
    metadata = tomllib.loads((project.path / "pyproject.toml").read_text())["project"]
    assert (metadata["description"], metadata["authors"][0]["name"]) == (text, text)
    assert (project.path / "README.md").read_text().splitlines()[0] == f"# {text}"


@pytest.mark.parametrize(
    ("prompt", "value"),
    [
        *(
            ("project_slug", slug)
            for slug in ("", "a b", "-x", "1st", "../x", "x/y", "x.y", "Upper", "a" * 51, "é", "a--b")
        ),
        *(("project_slug", slug) for slug in ("torch", "pytorch-lightning", "optuna", "json", "class", "nul", "com1")),
        *(("description", text) for text in ("two\nlines", "", " ", "bell \a")),
        ("author_name", "two\nlines"),
    ],
)
def test_an_answer_that_cannot_work_is_refused_in_one_line(prompt, value, tmp_path, tmp_path_factory):
    out = tmp_path / "in" / "here"
    home = tmp_path_factory.mktemp("home")
    result = cookiecutter("--no-input", "--output-dir", str(out), f"{prompt}={value}", home=home, cwd=tmp_path)
    assert result.returncode == 1
    lines = [line for line in (result.stdout + result.stderr).splitlines() if line.startswith(f"{prompt}: ")]
    assert len(lines) == 1, result.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_questions_are_asked_in_words(tmp_path):
    """As a user at the keyboard: a name, the rest by Enter."""
    result = cookiecutter("--output-dir", str(tmp_path), home=tmp_path, input="Deep Digits" + "\n" * 8)
    assert result.returncode == 0, result.stderr
    content = json.loads((ROOT / "cookiecutter.json").read_text())
    asked = [name for name in content if not name.startswith("_")]
    assert list(content["__prompts__"]) == asked
    for number, name in enumerate(asked, start=1):
        prompt = content["__prompts__"][name]
        if isinstance(prompt, dict):
            assert set(prompt) == {"__prompt__", *content[name]}
            prompt = prompt["__prompt__"]
        assert f"[{number}/{len(asked)}] {prompt}" in " ".join(result.stdout.split())
    assert (tmp_path / "deep-digits" / "main.py").exists()
    assert result.stdout.endswith("Next:\n  cd deep-digits\n  pip install -e .\n  python main.py\n")


def test_the_same_answers_give_the_same_bytes(bake):
    one, other = bake(project_slug="one"), bake(project_slug="one")
    assert one.files() == other.files()
    assert all((one.path / file).read_bytes() == (other.path / file).read_bytes() for file in one.files())
