"""Write the pages of the documentation site, and its settings, into a folder; ``make docs`` makes HTML of them.

A page is a file of docs/, the README, or a file of the docs/ of a project with every option that they describe. The
page on flags shows the output of its commands. A link to a file that is no page leads to the repository.

    python tools/pages.py build/site && cd build/site && zensical build --strict
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, unquote

from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
REPOSITORY = "https://github.com/org/lit-template"
ANSWERS = {"sweeps": "both", "docker": True}  # of the project whose pages are shown
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]*)(#[^)\s]*)?(?=\))")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^<!-- output of (.+) -->$", re.MULTILINE)


def pages() -> dict[Path, str]:
    """Return the source of each page in the repository, with the name of the page."""
    of_project = (TEMPLATE / "docs").glob("*.md")
    return {ROOT / "README.md": "index.md", **{path: path.name for path in [*ROOT.glob("docs/*.md"), *of_project]}}


def point_to_pages(text: str, source: Path, names: dict[Path, str]) -> str:
    """Replace the links of a text by links to pages, to pictures or to the repository.

    Args:
        text: of a page, in Markdown.
        source: file in the repository that has the text, or its template.
        names: source of each page, with its name.

    Raises:
        FileNotFoundError: If a link leads to a file that the repository does not have.
    """

    def new_target(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(source.parent / unquote(link[1])))
        anchor = link[2] or ""
        if target in names:
            return names[target] + anchor
        if target.is_relative_to(ROOT / "docs" / "pictures") and target.is_file():
            return f"pictures/{target.name}"
        if not target.exists():
            raise FileNotFoundError(f"{source.relative_to(ROOT)}: the link to {link[1]} leads nowhere")
        kind = "tree" if target.is_dir() else "blob"
        return f"{REPOSITORY}/{kind}/main/{quote(target.relative_to(ROOT).as_posix())}{anchor}"

    fences = FENCE.findall(text)
    parts = [LINK.sub(new_target, part) for part in FENCE.split(text)]
    return "".join(part + fence for part, fence in zip(parts, [*fences, ""], strict=True))


def show_outputs(text: str, project: Path) -> str:
    """Put the output of a command under the comment that names it."""

    def output(comment: re.Match[str]) -> str:
        command = [sys.executable, *comment[1].split()[1:]]
        plain = {**os.environ, "COLUMNS": "84", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        printed = subprocess.run(command, cwd=project, env=plain, check=True, capture_output=True, text=True).stdout
        return f"```text\n{printed}```"

    return COMMAND.sub(output, text)


def write_pages(folder: Path) -> None:
    """Write all pages into ``folder/pages``, and the settings into ``folder/mkdocs.yml``."""
    shutil.rmtree(folder / "pages", ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "pictures", folder / "pages" / "pictures")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    names = pages()
    with TemporaryDirectory() as temporary:
        project = Path(cookiecutter(str(ROOT), no_input=True, extra_context=ANSWERS, output_dir=temporary))
        for source, name in names.items():
            baked = project / source.relative_to(TEMPLATE) if source.is_relative_to(TEMPLATE) else source
            text = point_to_pages(baked.read_text("utf-8"), source, names)
            (folder / "pages" / name).write_text(show_outputs(text, project), "utf-8")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
