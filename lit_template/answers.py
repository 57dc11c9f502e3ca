"""What cookiecutter loads of this template: an extension of Jinja's by which answers stay text.

cookiecutter renders as a template whatever is to become an answer: a default, and as well what comes from a command
line, a config file or a program. Typed text would run as code. With this extension, an answer is rendered only where
it is the default of the question that is asked. What cannot become a project ends in one line, before anything is on
disk; a file that was not chosen is never written.

This holds by three facts of cookiecutter, each with a test:

- files are templates with a name; answers and paths have none;
- there is a loader of templates while files are written, and none while questions are asked;
- a file whose path is rendered to nothing is skipped.
"""

import json
import sys
from pathlib import Path
from typing import Any

from cookiecutter.exceptions import FailedHookException
from jinja2 import Environment
from jinja2.ext import Extension

from lit_template.checks import as_slug, complaint, complaint_of_place
from lit_template.files import if_chosen, unchosen

HERE = Path(__file__).parents[1]
QUESTIONS = json.loads((HERE / "cookiecutter.json").read_text("utf-8"))
HOOKS = {file.read_text("utf-8") for file in (HERE / "hooks").glob("*.py")}
FOLDER = "{{cookiecutter.project_slug}}"
SLUG, CHECKED = QUESTIONS["project_slug"], QUESTIONS["__checked"]


class Answers(Extension):
    """The rule, and filters for files."""

    def __init__(self, environment: Environment) -> None:
        """Add the filters."""
        super().__init__(environment)
        # cruft bakes two versions of a template in one process: the next one must not get these modules from the cache.
        for name in [name for name in sys.modules if name.partition(".")[0] == __package__]:
            del sys.modules[name]
        environment.filters |= {each.__name__: each for each in (as_slug, if_chosen, rendered, toml, unchosen)}
        environment.globals["template_version"] = QUESTIONS["_version"]  # an answer would be old with --replay

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Return what to render: files and hooks as they are, anything else by the filters below."""
        if name is not None or source in HOOKS:
            return source
        asks = self.environment.loader is None or source == FOLDER
        return f"{{{{ {source!a} | {'rendered' if asks else 'if_chosen'}(cookiecutter) }}}}"


def rendered(source: str, answers: dict[str, Any]) -> str:
    """Return an answer or the name of the project's folder: the text as it is, or a default with the answers so far.

    Raises:
        FailedHookException: If the answers cannot become a project; cookiecutter prints its text alone.
    """
    questions = [name for name in QUESTIONS if not name.startswith("_") or name.startswith("__")]
    question = next((name for name in questions if name not in answers and name != "__prompts__"), None)
    if question is None and source == FOLDER:
        check(answers)  # with --replay no question was asked before
        return str(answers["project_slug"])
    if question is None or source != QUESTIONS[question]:
        return source
    if source == SLUG:
        return as_slug(answers["project_name"])
    if source == CHECKED:
        check(answers)
        return "yes"
    return source


def check(answers: dict[str, Any]) -> None:
    """Check the answers so far, and the folder for the project.

    Raises:
        FailedHookException: If they cannot become a project, or it cannot be written there.
    """
    problem = complaint(answers) or complaint_of_place(Path(answers.get("_output_dir", ".")))
    if problem:
        raise FailedHookException(problem)


def toml(text: str) -> str:
    """Return what stands between double quotes in TOML for a text without control characters."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
