"""The rules that docs/architecture.md states, held against the code."""

import ast
import re

import pytest

from tests.conftest import TEMPLATE, Project, template_files

LAYERS = [
    ["sweep_hydra", "hydra_plugins"],
    ["multirun.job", "multirun.table"],
    ["multirun.planned", "multirun.study"],
    ["multirun.errors", "multirun.flags", "multirun.launched", "multirun.notes"],
    ["multirun"],
    ["sweep_optuna"],
    ["sweeps.workers"],
    ["sweeps.kept", "sweeps.progress", "sweeps.trials"],
    ["sweeps.report", "sweeps.untested"],
    ["sweeps.claims", "sweeps.stored"],
    ["sweeps.ranking", "sweeps.records", "sweeps.studies", "sweeps.sweep"],
    ["sweeps.flags", "sweeps.space"],
    ["sweeps.definition"],
    ["sweeps", "main"],
    ["one_run"],
    ["completion", "train"],
    ["reports"],
    ["callbacks", "explain", "new", "predictions", "resume", "trained"],
    ["checkpoints", "command_line", "loggers", "loops", "modules", "progress"],
    ["declarations", "models", "data", "program_args", "runs", "words"],
    ["config_files", "habits", "in_memory", "lean_steps", "lean_imports", "metric_state", "optimizers"],
    ["args", "files", "signals", "slurm"],
    ["trainer_args"],
]


def level(module):
    """Return in which layer a module is: it, or the package around it; None if it is not the project's."""
    levels = {name: number for number, names in enumerate(LAYERS) for name in names}
    return levels.get(module, levels.get(module.split(".")[0]))


@pytest.mark.parametrize("file", sorted(file for file in template_files() if file.endswith(".py")))
def test_python_files_hold_no_template_code(file):
    text = (TEMPLATE / file).read_text()
    assert "{{" not in text
    assert not re.search(r"^(?!\s*# )[^\n]*\{%", text, re.MULTILINE)
    compile(text, file, "exec")


@pytest.mark.parametrize(
    "file", sorted(f for f in template_files() if f.endswith(".py") and not f.startswith("tests/"))
)
def test_imports_point_down(file):
    module = file.removesuffix(".py").replace("/", ".")
    for node in ast.walk(ast.parse((TEMPLATE / file).read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if level(name) is not None and not module.startswith(f"{name}."):
                assert level(name) > level(module), f"{file} imports {name}"


SCRIPTS = ["main.py", "sweep_hydra.py", "sweep_optuna.py"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_older_python_is_told_that_it_is_too_old(script):
    """The script alone is parsed and run, of any Python 3, up to where it says so: what it imports later is not."""
    ast.parse((TEMPLATE / script).read_text(), feature_version=(3, 7))
    pretend = "import sys; sys.version_info = (3, 9, 18, 'final', 0)\n"
    pretend += "code = compile(open(sys.argv[1]).read(), sys.argv[1], 'exec'); before = {*sys.modules}\n"
    pretend += "try: exec(code, {'__name__': '__main__'})\nfinally: print({*sys.modules} - before)"
    result = Project(TEMPLATE).python("-c", pretend, script)
    assert result.stdout == "set()\n"
    assert (result.returncode, result.stderr) == (1, f"{script}: error: needs Python 3.10 or newer, this is 3.9.18\n")


def test_only_the_chosen_modules_are_imported(project):
    script = "import sys; sys.path.insert(0, '.'); import main; main.parse_args(['--model_name', 'my_model'])\n"
    script += "print(sorted(name for name in sys.modules if name.startswith(('models.', 'data.', 'torch'))))\n"
    script += "import modules; modules.load('models', 'my_model')\n"
    script += "print(sorted(name for name in sys.modules if name.startswith(('models.', 'data.'))))"
    result = project.python("-c", script)
    assert result.stdout.splitlines() == ["[]", "['models.my_model']"], result.stderr
