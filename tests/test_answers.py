"""What may be answered: text comes out as it was typed, what cannot work is refused, and nothing is executed."""

import ast
import json
import re
import tempfile
import unicodedata
from email.headerregistry import Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jinja2 import Environment

from lit_template.checks import LONGEST_SLUG, TAKEN, as_slug, complaint
from tests.conftest import ROOT, TEMPLATE, cookiecutter, tomllib

TEXTS = ("project_name", "description", "author_name", "author_email")
ORDINARY = [
    "O'Brien",
    '"Bob" Smith',
    "back\\slash \\n",
    "Zoë",
    "Zoe\u0308",
    "山田",
    "🚀 to the moon",
    "👩\u200d🚀",
    "نور الهدى",
    "שלום",
    "50 % & #1",
    "<b>",
    "Smith, Jones & Co. (Ltd.)",
    'ends in \\"',
    "{{ 7 * 7 }} {# gone #} # {% if false %} {% raw %}",
    "{{ cookiecutter.project_name }}",
    "{{cookiecutter.project_slug}}",
    "{{ cookiecutter.project_name | as_slug }}",
    "{{ cookiecutter | checked }}",
    "# {%",
    "harness/sweeps/optuna/claims.py",
    "${HOME} $(id) `id` ; | > < * ? ~ !",
    "%s %(name)s {0} {name}",
    '"""',
    "'''",
    "\\",
    "x" * 3000,
]
CODE = "{{ cycler.__init__.__globals__.os.system('touch executed') }}"
REFUSED = [
    *(("project_slug", text) for text in ("", " ", ".", "..", "a b", "-x", "--x", "1st", "../x", "/x", "x/y", "x\\y")),
    *(
        ("project_slug", text)
        for text in ("x.y", "Upper", "a" * 51, "é", "a--b", "_x", "x_", "~", "{{cookiecutter.project_slug}}", CODE)
    ),
    *(
        ("project_slug", text)
        for text in ("torch", "harness", "pytorch-lightning", "optuna", "json", "class", "none", "nul", "com1")
    ),
    *(("description", text) for text in ("two\nlines", "", " ", "bell \a", "tab\t", "\x7f", "\u202eright to left")),
    *(("author_name", text) for text in ("two\nlines", "\r", "line\u2028separator", "half \udc80")),
    *(("author_email", text) for text in ("", "nobody", "a@", "@b", "a b@c", "a@b, c@d", "Bob <bob@example.com>")),
    *(("project_name", text) for text in ("", "\u00a0", "two\nlines")),
]


def sound(folder, given_answers):
    """Hold a project against the answers."""
    metadata = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    author = {"name": given_answers["author_name"], "email": given_answers["author_email"]}
    assert metadata["name"] == folder.name == given_answers["project_slug"]
    assert (metadata["description"], metadata["authors"]) == (given_answers["description"], [author])
    title, _, description = (folder / "README.md").read_text("utf-8").splitlines()[:3]
    assert (title, description) == (f"# {given_answers['project_name']}", given_answers["description"])
    if given_answers.get("license", "MIT") in ("MIT", "BSD-3-Clause"):
        assert given_answers["author_name"] in (folder / "LICENSE").read_text("utf-8")
    for file in folder.rglob("*.py"):
        assert file.read_bytes().count(b"cookiecutter") == 0


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_comes_out_as_typed(bake, text):
    given_answers = dict.fromkeys(TEXTS, text) | {"author_email": "o'brien+x@example.com"}
    project = bake(**given_answers, project_slug="name-test", license="BSD-3-Clause")
    sound(project.path, given_answers | {"project_slug": "name-test"})


@pytest.mark.parametrize(("prompt", "value"), REFUSED)
def test_an_answer_that_cannot_work_is_refused_in_one_line(prompt, value, tmp_path, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    (tmp_path / "mine").mkdir()
    result = cookiecutter("--no-input", "-f", "--output-dir", "mine", f"{prompt}={value}", home=home, cwd=tmp_path)
    assert result.returncode == 1
    (line,) = (result.stdout + result.stderr).splitlines()
    assert line.startswith(f"{prompt}: ")
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]
    assert not list(home.rglob("*.json"))  # nor does --replay know of it
    if prompt == "project_slug":
        suggestion = line.split("such as ")[-1]
        assert complaint({"project_slug": suggestion}) is None


def test_the_code_that_is_typed_is_live(tmp_path, monkeypatch):
    """The control of the test below: where Jinja renders it, it runs."""
    monkeypatch.chdir(tmp_path)
    Environment().from_string(CODE).render()
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("prompt", TEXTS)
def test_nothing_that_is_typed_is_executed(prompt, tmp_path, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    cookiecutter("--no-input", f"{prompt}={CODE}", home=home, cwd=tmp_path)
    (home / "config.yaml").write_text(json.dumps({"default_context": {prompt: CODE}}))
    cookiecutter("--no-input", "--config-file", str(home / "config.yaml"), "-f", home=home, cwd=tmp_path)
    cookiecutter(home=home, cwd=tmp_path, input="".join(f"{CODE}\n" for _ in range(10)))
    assert not [*tmp_path.rglob("executed"), *ROOT.glob("executed"), *TEMPLATE.rglob("executed")]


def as_typed(given_answers):
    """Return what is typed for all questions: choices by Enter."""
    asked = [name for name in json.loads((ROOT / "cookiecutter.json").read_text()) if not name.startswith("_")]
    return "".join(f"{given_answers.get(name, '')}\n" for name in asked)


@pytest.mark.parametrize("way", ["typed", "words", "config"])
def test_the_ways_of_answering_are_one(way, tmp_path):
    given_answers = dict.fromkeys(TEXTS, '"Zoë" {{ 1 }} \\ 🚀') | {"author_email": "zoe@example.com"}
    given_answers["project_slug"] = "the-same"
    if way == "typed":
        result = cookiecutter(home=tmp_path, cwd=tmp_path, input=as_typed(given_answers))
    elif way == "words":
        words = [f"{name}={value}" for name, value in given_answers.items()]
        result = cookiecutter("--no-input", *words, home=tmp_path, cwd=tmp_path)
    else:
        (tmp_path / "config.yaml").write_text(json.dumps({"default_context": given_answers}, ensure_ascii=False))
        result = cookiecutter("--no-input", "--config-file", "config.yaml", home=tmp_path, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    sound(tmp_path / "the-same", given_answers)


def test_replay_repeats_and_refuses(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    first = cookiecutter("--no-input", 'author_name="Zoë" {{ 1 }}', "sweeps=both", home=home, cwd=tmp_path)
    assert first.returncode == 0, first.stdout
    project = tmp_path / "my-lightning-project"
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    project.rename(tmp_path / "first")
    assert cookiecutter("--replay", home=home, cwd=tmp_path).returncode == 0
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
    # A file of answers that was changed by hand is checked, too.
    (replay,) = home.rglob("*.json")
    for prompt, value in (("project_slug", "../out"), ("author_name", "two\nlines"), ("description", None)):
        content = json.loads(replay.read_text())
        content["cookiecutter"][prompt] = value
        (tmp_path / "changed.json").write_text(json.dumps(content))
        (tmp_path / "here").mkdir(exist_ok=True)
        result = cookiecutter("--replay-file", "../changed.json", home=home, cwd=tmp_path / "here")
        assert result.returncode == 1
        (line,) = (result.stdout + result.stderr).splitlines()
        assert line.startswith(f"{prompt}: ")
        assert not list((tmp_path / "here").iterdir())


def test_a_choice_that_there_is_not_is_named(tmp_path):
    """By cookiecutter itself, before it loads anything of the template."""
    for word, named in (("license=GPL", "license"), ("example_models=perhaps", "example_models")):
        result = cookiecutter("--no-input", word, home=tmp_path, cwd=tmp_path)
        assert result.returncode == 1
        assert named in result.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_files_of_the_users_own_stay(tmp_path):
    """Also where a project is baked over them with fewer options."""
    assert cookiecutter("--no-input", "sweeps=both", home=tmp_path, cwd=tmp_path).returncode == 0
    project = tmp_path / "my-lightning-project"
    own = [
        project / name
        for name in ("harness/sweeps/mine.py", "conf/experiment/mine.yaml", "models/mine.py", "notes.txt")
    ]
    for path in own:
        path.write_text("mine")
    again = cookiecutter("--no-input", home=tmp_path, cwd=tmp_path)
    assert again.returncode == 1
    assert "already exists" in again.stdout
    assert cookiecutter("--no-input", "-f", "sweeps=none", "license=none", home=tmp_path, cwd=tmp_path).returncode == 0
    assert [path.read_text() for path in own] == ["mine"] * len(own)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    home = tmp_path / "home"
    result = cookiecutter("--no-input", "--output-dir", "file", home=home, cwd=tmp_path)
    assert result.returncode == 1
    (line,) = (result.stdout + result.stderr).splitlines()
    assert str(tmp_path / "file") in line
    assert "--output-dir" in line


def test_names_of_the_dependencies_are_taken():
    metadata = tomllib.loads((TEMPLATE / "pyproject.toml").read_text())["project"]
    extras = metadata["optional-dependencies"].values()
    needed = [*metadata["dependencies"], *(name for names in extras for name in names)]
    for requirement in needed:
        name = re.match(r"[\w-]+", requirement)[0].lower().replace("-", "_")
        assert name in TAKEN, requirement


SPY = """
from jinja2.ext import Extension

class Spy(Extension):
    def preprocess(self, source, name, filename=None):
        with open({log!r}, "a") as log:
            print((source, name, self.environment.loader is None), file=log)
        return source.replace("left out", "")
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What an extension of Jinja's sees of a small template, as (source, name, whether there is no loader)."""
    template, project = tmp_path_factory.mktemp("small"), tmp_path_factory.mktemp("baked")
    questions = {"word": "a default", "_extensions": ["spy.Spy"]}
    (template / "cookiecutter.json").write_text(json.dumps(questions))
    (template / "spy.py").write_text(SPY.format(log=str(template / "seen")))
    folder = template / "{{cookiecutter.word}}"
    folder.mkdir()
    for name in ("file", "left out"):
        (folder / name).write_text("content")
    result = cookiecutter("--no-input", "word=typed", home=project, cwd=project, template=template)
    assert result.returncode == 0, result.stderr
    return [ast.literal_eval(line) for line in (template / "seen").read_text().splitlines()], project / "typed"


def test_cookiecutter_gives_files_a_name_and_answers_and_paths_none(seen):
    names = {source: name for source, name, _ in seen[0]}
    assert names == {"typed": None, "{{cookiecutter.word}}": None, "file": None, "left out": None, "content": "file"}


def test_cookiecutter_has_no_loader_while_it_asks_and_one_while_it_writes(seen):
    asks = {source: asks for source, _, asks in seen[0]}
    assert asks["typed"]
    assert not asks["file"]
    assert not asks["content"]


def test_cookiecutter_skips_a_file_with_an_empty_path(seen):
    assert [path.name for path in seen[1].iterdir()] == ["file"]


LETTERS = st.characters(exclude_categories=["Cs"])
MARKS = [*"\"'\\{}%#&<>|$`~!?*;:/@ \t\n\r\x00\x1b\x7f", "{{", "}}", "{%", "# {%", "{#", "🚀", "ש", "\u202e"]
ANY_TEXT = st.lists(st.one_of(LETTERS, st.sampled_from(MARKS)), max_size=12).map("".join)
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # classes of letters that turn the writing


def is_plain(text):
    """Return whether a text is one that must be accepted: said without the code that is tested."""
    kinds = {unicodedata.category(letter) for letter in text}
    turning = {unicodedata.bidirectional(letter) for letter in text} & TURNING
    return bool(text.strip()) and not kinds & {"Cc", "Cs", "Zl", "Zp"} and not turning


@given(
    name=ANY_TEXT, description=ANY_TEXT, author=ANY_TEXT, license_name=st.sampled_from(["MIT", "Apache-2.0", "none"])
)
@example(name="{{ 1 }}", description="\\", author='"', license_name="MIT")
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_text_makes_a_sound_project_or_is_refused(cookies_session, name, description, author, license_name):
    given_answers = {
        "project_name": name,
        "description": description,
        "author_name": author,
        "author_email": "name@example.com",
        "license": license_name,
    }
    result = cookies_session.bake(extra_context=given_answers)
    wrong = [prompt for prompt in TEXTS if not is_plain(given_answers[prompt])]
    if wrong:
        assert result.exit_code == -1 or result.exit_code == 1
        assert str(result.exception).startswith(f"{wrong[0]}: ")
        assert len(str(result.exception).splitlines()) == 1
    else:
        assert result.exit_code == 0, result.exception
        sound(result.project_path, given_answers | {"project_slug": result.project_path.name})
        Address(display_name=author, addr_spec="name@example.com")  # what the metadata of a package are made with


@given(ANY_TEXT)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_every_name_has_a_slug(text):
    slug = as_slug(text)
    assert complaint({"project_slug": slug}) is None
    assert len(slug) <= LONGEST_SLUG + len("-project")


@given(ANY_TEXT)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_slug_is_a_folder_anywhere(slug):
    if complaint({"project_slug": slug}) is None:
        assert re.fullmatch("[a-z0-9_-]+", slug)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, slug).mkdir()
