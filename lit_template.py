"""What cookiecutter loads of this template: answers stay text and are checked, and files are written only where chosen.

cookiecutter renders what comes from a command line, a config file or a program as a template, so that typed text would
run as code; it checks nothing; and it writes every file. With this extension of Jinja's, a source that is not the
template's own is text, an answer that cannot become a project ends in one line before anything is on disk, and what
was not chosen is never written.
"""

import json
import keyword
import os
import re
import sys
from email.headerregistry import Address
from pathlib import Path
from typing import Any

from cookiecutter.exceptions import FailedHookException
from jinja2 import Environment
from jinja2.ext import Extension
from slugify import slugify

HERE = Path(__file__).parent
FOLDER = "{{cookiecutter.project_slug}}"

TEXTS = ("project_name", "description", "author_name", "author_email")
# Control characters, line ends, what turns the direction of writing, and halves of characters, which no file can hold.
NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
SLUG = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
LONGEST_SLUG = 50
# Names that the project's folder or package would take away from what it imports or installs, or that Windows keeps.
TAKEN = {"torch", "lightning", "lightning_fabric", "pytorch_lightning", "torchmetrics", "numpy", "pillow", "pyyaml"}
TAKEN |= {"yaml", "tensorboard", "wandb", "pytest", "mypy", "ruff", "types_pyyaml", "hatchling", "pip", "setuptools"}
TAKEN |= {"optuna", "plotly", "matplotlib", "sqlalchemy", "tqdm", "cmaes", "scipy", "grpcio", "protobuf", "psycopg"}
TAKEN |= {"hydra", "hydra_core", "omegaconf", "joblib", "submitit", "cloudpickle", "ray"}
TAKEN |= {"argcomplete", "harness"}  # harness is a package of the project itself
TAKEN |= {f"hydra_{launcher}_launcher" for launcher in ("joblib", "submitit", "ray")}
TAKEN |= {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
TAKEN |= {name.lower() for name in (*sys.stdlib_module_names, *keyword.kwlist)}

# The files of sweeps: of each kind, of either, and of both together. A folder is named with a slash.
OPTUNA = ["sweep_optuna.py", "harness/sweeps/optuna/", "docs/sweeps.md", "tests/test_search_space.py"]
HYDRA = ["sweep_hydra.py", "conf/", "harness/sweeps/hydra/", "docs/hydra.md"]
EITHER = ["harness/sweeps/"]
BOTH = ["harness/sweeps/hydra/plugins/", "harness/sweeps/hydra/study.py"]
# Which files are not written when an option has this value.
UNCHOSEN: dict[str, dict[object, list[str]]] = {
    "example_models": {
        False: ["models/mnist.py", "models/gan.py", "tests/test_model_mnist.py", "tests/test_model_gan.py"]
    },
    "license": {"none": ["LICENSE"]},
    "sweeps": {"none": [*OPTUNA, *HYDRA, *EITHER], "optuna": HYDRA, "hydra": [*OPTUNA, *BOTH]},
}


class Answers(Extension):
    """Filters for cookiecutter.json and for files, and a rule: only what the template itself says is rendered."""

    def __init__(self, environment: Environment) -> None:
        """Add the filters."""
        super().__init__(environment)
        # cruft bakes two versions of a template in one process: the next one must not get this file from the cache.
        sys.modules.pop(__name__, None)
        filters = (as_slug, checked, folder, if_chosen, toml, unchosen)
        environment.filters |= {function.__name__: function for function in filters}
        questions = json.loads((HERE / "cookiecutter.json").read_text("utf-8"))
        environment.globals["template_version"] = questions["_version"]  # an answer would be old with --replay
        self.own = set(texts(questions)) | {file.read_text("utf-8") for file in (HERE / "hooks").glob("*.py")}

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Return what to render: files, hooks and defaults as they are, anything else as the text that it is."""
        if name is not None or source in self.own:
            return source
        if source == FOLDER:
            return "{{ cookiecutter | folder }}"
        text = ascii(source)
        # While files are written, that is the path of one. An empty path is not written.
        return f"{{{{ {text} }}}}" if self.environment.loader is None else f"{{{{ {text} | if_chosen(cookiecutter) }}}}"


def texts(value: Any) -> list[str]:
    """Return all texts in a structure of JSON."""
    if isinstance(value, dict | list):
        return [text for each in (value.values() if isinstance(value, dict) else value) for text in texts(each)]
    return [value] if isinstance(value, str) else []


def checked(answers: dict[str, Any]) -> str:
    """Return "yes" if the answers there are so far can become a project, and there is a place for it.

    Raises:
        FailedHookException: they cannot; cookiecutter shows this text alone.
    """
    problem = complaint(answers) or complaint_of_place(Path(answers.get("_output_dir", ".")))
    if problem:
        raise FailedHookException(problem)
    return "yes"


def folder(answers: dict[str, Any]) -> str:
    """Return the name of the project's folder, which is about to be made; with --replay no question was asked before.

    Raises:
        FailedHookException: as ``checked``.
    """
    if "__checked" not in answers:  # there are still questions: somebody has typed the name of the folder
        return FOLDER
    checked(answers)
    return str(answers["project_slug"])


def complaint(answers: dict[str, Any]) -> str | None:
    """Return what is wrong with the answers there are so far, or None."""
    for prompt in TEXTS:
        text = answers.get(prompt, "to come")
        if not isinstance(text, str) or not text.strip() or NOT_TEXT.search(text):
            return f"{prompt}: {text!a} must be one line of plain text"
    if "author_email" in answers and not is_address(answers["author_email"]):
        return (
            f"author_email: {answers['author_email']!a} is no e-mail address that a Python package can have; take one"
            " such as name@example.com"
        )
    if "project_slug" in answers:
        return complaint_of_slug(answers["project_slug"])
    return None


def complaint_of_place(place: Path) -> str | None:
    """Return why nothing can be written into a folder, which may still have to be made, or None."""
    while not os.path.lexists(place):
        place = place.parent
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return None
    return f"{str(place)!a} is no folder that can be written to: name another with --output-dir"


def complaint_of_slug(slug: Any) -> str | None:
    """Return what is wrong with a name of a folder and a package, or None."""
    remedy = f"take another, such as {as_slug(str(slug))}"
    if not isinstance(slug, str) or not SLUG.fullmatch(slug) or len(slug) > LONGEST_SLUG:
        return (
            f"project_slug: {slug!a} cannot be the name of a folder and a package, which has lower-case letters and"
            f" digits, single - or _ between them, a letter first, at most {LONGEST_SLUG} in all; {remedy}"
        )
    if slug.replace("-", "_") in TAKEN:
        return f"project_slug: {slug!a} is a name that Python, the project or Windows needs; {remedy}"
    return None


def is_address(text: str) -> bool:
    """Return whether the metadata of a package can hold an e-mail address as it is: what hatchling asks for."""
    try:
        return str(Address(addr_spec=text)) == text
    except Exception:  # of many kinds, some of them slips of the parser
        return False


def as_slug(text: str) -> str:
    """Return a sound slug for any text, in Latin letters."""
    words = slugify(re.sub("['\u2019]", "", text)).split("-")  # O'Brien is one word
    if words == [""]:
        words = ["my", "project"]
    if not words[0][0].isalpha():
        words.insert(0, "project")
    slug = words[0][:LONGEST_SLUG]
    for word in words[1:]:
        if len(slug) + 1 + len(word) > LONGEST_SLUG:
            break
        slug += f"-{word}"
    return f"{slug}-project" if slug.replace("-", "_") in TAKEN else slug


def toml(text: str) -> str:
    """Return what stands between double quotes in TOML for a text without control characters."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def unchosen(answers: dict[str, Any]) -> list[str]:
    """Return the files, and the folders with a slash, that the answers leave out."""
    return [file for option, values in UNCHOSEN.items() for file in values.get(answers[option], [])]


def if_chosen(path: str, answers: dict[str, Any]) -> str:
    """Return the path of a file of the template if its project has it, else nothing."""
    file = path.replace(os.sep, "/")
    left_out = any(file == name or (name.endswith("/") and file.startswith(name)) for name in unchosen(answers))
    return "" if left_out else path
