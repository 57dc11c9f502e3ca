"""What the template writes for which answers."""

import json
import re

import pytest

from lit_template.files import unchosen
from tests.conftest import ROOT, TEMPLATE, cookiecutter, options, template_files, tomllib


def answers(**changed):
    defaults = {"example_models": True, "license": "MIT", "sweeps": "none"}
    return defaults | {"ci": "none", "docker": False, "agents_md": False} | changed


def chosen_files(**changed):
    """Return the files of the template that a project with these answers has."""
    gone = unchosen(answers(**changed))
    folders = tuple(name for name in gone if name.endswith("/"))
    return {file for file in template_files() if file not in gone and not file.startswith(folders)}


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


def test_questions_are_asked_in_words(tmp_path):
    """As a user at the keyboard: a name, the rest by Enter."""
    result = cookiecutter("--output-dir", str(tmp_path), home=tmp_path, input="Deep Digits" + "\n" * 12)
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


def test_the_readme_lists_every_question():
    questions = json.loads((ROOT / "cookiecutter.json").read_text())
    _, _, table = (ROOT / "README.md").read_text().partition("## Options\n")
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", table.partition("\n## ")[0], re.MULTILINE)
    listed = {name: answers for names, answers in rows for name in re.findall(r"`(\w+)`", names)}
    assert list(listed) == [name for name in questions if not name.startswith("_")]
    for name, row in listed.items():
        default = questions[name]
        if isinstance(default, list):
            assert re.findall(r"`([^`]+)`", row) == default
        elif isinstance(default, bool):
            assert row == ("yes, no" if default else "no, yes")


def test_the_version_is_that_of_the_changelog_and_in_the_project(project):
    version = json.loads((ROOT / "cookiecutter.json").read_text())["_version"]
    assert re.search(r"^## (\d\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == version
    assert tomllib.loads((project.path / "pyproject.toml").read_text())["tool"]["lit-template"] == {"version": version}
