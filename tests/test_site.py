"""The documentation site: it is built without a warning, its links lead somewhere, and its commands work."""

import json
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from tests.conftest import ROOT, Project

PAGES = ROOT / "docs"
SHORT = ("--limit_train_batches", "2", "--limit_val_batches", "2", "--limit_test_batches", "2")
REPOSITORY = "https://github.com/org/lit-template/"


class Page(HTMLParser):
    """The text, links and anchors of a page."""

    def __init__(self, path):
        super().__init__()
        self.text, self.links, self.anchors = "", [], set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs["id"]} if "id" in attrs else set()
        self.links += [attrs[name] for name in ("href", "src") if attrs.get(name)]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the pages in Markdown and as HTML."""
    if sys.version_info < (3, 11):
        pytest.skip("zensical needs Python 3.11")
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, ROOT / "tools" / "pages.py", folder], check=True, capture_output=True, timeout=120)
    zensical = Path(sys.executable).parent / "zensical"
    built = subprocess.run([zensical, "build", "--strict"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path.name: Page(path) for path in (site / "html").glob("*.html") if path.name != "404.html"}


def test_every_page_is_in_the_navigation(site):
    text = re.search(r"^nav:\n(?: .*\n)+", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)[0]
    listed = re.findall(r"[\w-]+\.md", str(yaml.safe_load(text)))
    assert sorted(listed) == sorted(path.name for path in (site / "pages").glob("*.md"))


def test_links_lead_to_pages_anchors_and_files(site, pages):
    checked = 0
    for name, page in pages.items():
        for link in page.links:
            if link.startswith(REPOSITORY):
                path = unquote(link.removeprefix(REPOSITORY).partition("#")[0]).partition("/main/")[2]
                assert (ROOT / path).exists(), f"{name}: {link}"
            elif not re.match(r"\w+:", link):
                file, _, anchor = link.partition("#")
                target = (site / "html" / unquote(file)).resolve() if file else site / "html" / name
                assert target.exists(), f"{name}: {link}"
                assert not anchor or anchor in pages[target.name].anchors, f"{name}: {link}"
                checked += 1
    assert checked > 200


def test_nothing_of_a_template_is_left_in_the_text(pages):
    for name, page in pages.items():
        assert not re.search(r"\{\{|\{%|cookiecutter\.(?!json|io|readthedocs)\w", page.text), name
    assert "--accumulate_grad_batches" in pages["flags.html"].text  # the output of a command
    assert "hydra.sweeper.n_trials" in pages["hydra.html"].text  # of a project with both kinds of sweeps


def test_a_link_that_leads_nowhere_is_an_error(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import pages as tool

    with pytest.raises(FileNotFoundError, match=r"docs/faq.md: the link to no.md leads nowhere"):
        tool.point_to_pages("see [this](no.md)", PAGES / "faq.md", {})


def test_pictures_are_small_and_show_no_path_of_a_machine():
    files = list((PAGES / "pictures").iterdir())
    assert {path.suffix for path in files} == {".svg", ".png"}
    assert sum(path.stat().st_size for path in files) < 600_000
    for path in files:
        if path.suffix == ".svg":
            assert not re.search(r"/(home|root|tmp|usr|Users)/", path.read_text("utf-8"))


@pytest.fixture(scope="module")
def both(bake):
    """A project with both kinds of sweeps, which tests add to."""
    return Project(bake(project_slug="coming", sweeps="both").path)


def commands(name, kind):
    """Return the command lines of a page, in its bash blocks or in the last column of its tables."""
    text = (PAGES / name).read_text()
    if kind == "table":
        return [shlex.split(line)[1:] for line in re.findall(r"\| `(python [^`]*)` \|$", text, re.MULTILINE)]
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line, comments=True)[1:] for block in blocks for line in block.splitlines() if "python" in line]


PARSE = """
import json, sys
sys.path.insert(0, ".")
from main import parse_args
for words in json.loads(sys.argv[1]):
    args = parse_args(words)
    for word in words:
        assert not word.startswith("--") or hasattr(args, word[2:]), word
print("parsed")
"""


def test_the_commands_for_users_of_lightning_hydra_template_work(both):
    lines = commands("from-lightning-hydra-template.md", "table")
    assert len(lines) > 28
    first = both.run("--max_epochs", "1", *SHORT)
    assert "run" in first
    special = {"--print_config", "--seeds"}  # are no parsed flags; other tests run them
    parsed = [words for script, *words in lines if script == "main.py" and not special & set(words)]
    result = both.python("-c", PARSE, json.dumps(parsed))
    assert result.stdout == "parsed\n", result.stderr
    quick = ["limit_train_batches=1", "limit_val_batches=1", "limit_test_batches=1", "max_epochs=1"]
    for script, *words in lines:
        if script == "sweep_hydra.py" and not {"hydra/sweeper=optuna", "batch_size=32,64"} & set(
            words
        ):  # in test_hydra.py
            result = both.python(script, *words, *(quick if "-m" in words else ["--cfg", "job"]))
            assert result.returncode == 0, result.stderr
    (search,) = [words for script, *words in lines if script == "sweep_optuna.py"]
    result = both.python("sweep_optuna.py", *search[:-1], "1", "--max_epochs", "1", *SHORT)
    assert result.returncode == 0, result.stderr


def test_a_model_of_lightning_hydra_template_becomes_one_file(both):
    text = (PAGES / "from-lightning-hydra-template.md").read_text()
    (name, content) = re.search(r"```python\n# (\S+)\n(.*?)```", text, re.DOTALL).groups()
    (both.path / name).write_text(content)
    (words,) = commands("from-lightning-hydra-template.md", "bash")
    assert "val/loss" in both.run(*words[1:], *SHORT)


def test_the_first_steps_work(bake):
    project = bake(project_slug="first-steps", sweeps="optuna")
    for script, *words in commands("getting-started.md", "bash"):
        if script.endswith(".py"):
            trains = not words or words[0] not in ("new", "runs", "--help")
            epochs = [] if "--max_epochs" in words or "test" in words else ["--max_epochs", "1"]
            trials = ["--n_trials", "1"] if script == "sweep_optuna.py" else []
            result = project.python(script, *words, *([*SHORT, *epochs, *trials] if trains else []))
            assert result.returncode == 0, f"{words}: {result.stderr}"


def test_answers_of_the_faq_are_true(bake):
    project = bake(project_slug="asked")
    text = (PAGES / "faq.md").read_text()
    (line,) = re.findall(r"`(callbacks=\[\*build.*?\])`", text)
    train = project.path / "train.py"
    source, count = re.subn(r"callbacks=\[\*build_callbacks.*?\]", line, train.read_text())
    assert count == 1
    callback = "import pytorch_lightning\n\n\nclass MyCallback(pytorch_lightning.Callback):\n"
    callback += "    def on_fit_end(self, trainer, pl_module):\n        print('called back')\n"
    (project.path / "my_callback.py").write_text(callback)
    train.write_text(source.replace("\nfrom harness", "\nfrom my_callback import MyCallback\nfrom harness", 1))
    (preset,) = re.findall(r"`(parser\.set_defaults\(.*?\))`", text)
    main = project.path / "main.py"
    main.write_text(main.read_text().replace("    return parser\n", f"    {preset}\n    return parser\n"))
    assert re.search(r"--save_top_k K .*?\(default:\s+3\)", project.python("main.py", "--help").stdout, re.DOTALL)
    result = project.python("main.py", "--max_epochs", "2", "--plain", "--log_every_n_steps", "1", *SHORT)
    assert result.returncode == 0, result.stderr
    assert "called back" in result.stdout
    assert len(list(project.path.glob("runs/*/metrics.csv"))) == 1
    listed = project.python("main.py", "runs", "--where", "state=failed")
    assert listed.returncode == 0, listed.stderr
