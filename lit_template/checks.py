"""Which answers can become a project, and where one can be written."""

import keyword
import os
import re
import sys
from email.headerregistry import Address
from pathlib import Path
from typing import Any

from slugify import slugify

TEXTS = ("project_name", "description", "author_name", "author_email")
# Control characters, line ends, what turns the direction of writing, and halves of characters, which no file can hold.
NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
SLUG = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
LONGEST_SLUG = 50
# Names that would shadow a module or package the project needs, or that Windows reserves.
TAKEN = {"torch", "lightning", "lightning_fabric", "pytorch_lightning", "torchmetrics", "numpy", "pillow", "pyyaml"}
TAKEN |= {"yaml", "tensorboard", "wandb", "pytest", "mypy", "ruff", "types_pyyaml", "hatchling", "pip", "setuptools"}
TAKEN |= {"optuna", "plotly", "matplotlib", "sqlalchemy", "tqdm", "cmaes", "scipy", "grpcio", "protobuf", "psycopg"}
TAKEN |= {"hydra", "hydra_core", "omegaconf", "joblib", "submitit", "cloudpickle", "ray"}
TAKEN |= {"mlflow", "trackio", "comet_ml", "comet", "pre_commit", "onnx", "onnxruntime", "onnxscript"}
TAKEN |= {"argcomplete", "harness"}  # harness is a package of the project itself
TAKEN |= {f"hydra_{launcher}_launcher" for launcher in ("joblib", "submitit", "ray")}
TAKEN |= {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
TAKEN |= {name.lower() for name in (*sys.stdlib_module_names, *keyword.kwlist)}


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
