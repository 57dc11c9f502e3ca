"""Refuse answers that cannot become a project: one line that names the prompt, and exit status 1."""

import json
import keyword
import re
import sys

ANSWERS = r"""{{ cookiecutter | tojson }}"""  # JSON: what was typed stays text

SLUG = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
LONGEST_SLUG = 50
# Control characters, line ends and what turns the direction of writing; what the template engine reads as code.
NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|[{][{%#]")
# Names that the project's folder or package would take away from what it imports or installs, or that Windows keeps.
TAKEN = {"torch", "lightning", "pytorch_lightning", "torchmetrics", "numpy", "pillow", "pytest", "mypy", "ruff"}
TAKEN |= {"optuna", "plotly", "matplotlib", "sqlalchemy", "tqdm", "cmaes", "scipy", "grpcio", "protobuf", "psycopg"}
TAKEN |= {"hydra", "hydra_core", "omegaconf", "joblib", "submitit", "cloudpickle", "ray"}
TAKEN |= {f"hydra_{launcher}_launcher" for launcher in ("joblib", "submitit", "ray")}
TAKEN |= {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
TAKEN |= {name.lower() for name in (*sys.stdlib_module_names, *keyword.kwlist)}


def complaint(answers: dict[str, object]) -> str | None:
    """Return what is wrong with the answers, or None."""
    slug = str(answers["project_slug"])
    if not SLUG.fullmatch(slug) or len(slug) > LONGEST_SLUG:
        return (
            f"project_slug: {slug!r} cannot be the name of a folder and a package; take lower-case letters, digits and"
            f" single - or _ between them, a letter first, at most {LONGEST_SLUG} in all, such as my-project"
        )
    if slug.replace("-", "_") in TAKEN:
        return (
            f"project_slug: {slug!r} is a name that Python or the project needs; take another, such as {slug}-project"
        )
    for prompt in ("project_name", "description", "author_name", "author_email"):
        text = str(answers[prompt])
        if not text.strip() or NOT_TEXT.search(text):
            return f"{prompt}: {text!r} must be one line of plain text, without template tags"
    return None


if __name__ == "__main__":
    problem = complaint(json.loads(ANSWERS))
    if problem:
        sys.exit(problem)
