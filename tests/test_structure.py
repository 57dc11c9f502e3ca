"""The rules that docs/architecture.md states, held against the code."""

import ast
import importlib.util
import re
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import TEMPLATE, Project, template_files

# Each may import what is below it; of those in one line, some may import others, but not in a circle.
FLOORS = [
    ["main", "sweep_hydra", "sweep_optuna"],
    ["train"],
    ["harness.app", "harness.cluster", "harness.contracts", "harness.repeats", "harness.sweeps"],
    ["harness.lightning_2_6"],
    ["harness.training"],
    ["harness.cli", "harness.history", "harness.runs"],
    ["harness.found"],
    ["harness.declared"],
    ["models"],
    ["data"],
    ["harness.batches", "harness.data", "harness.optimizers"],
    [
        *("harness.config_files", "harness.data_flags", "harness.files"),
        *("harness.optimizer_flags", "harness.signature", "harness.words"),
    ],
    ["harness.errors", "harness.flags", "harness.pages", "harness.trainer_args"],
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
CODE = sorted(file for file in template_files() if file.endswith(".py") and not file.startswith("tests/"))
HARNESS = [file for file in CODE if file.startswith("harness/")]
ROOT_MODULES = {"main", "train", "sweep_hydra", "sweep_optuna", "models", "data"}
LIGHTNING = {"pytorch_lightning", "lightning_fabric", "lightning"}


def imports(file):
    """Return the dotted names that a file imports, wherever in it: modules, and names in them."""
    found = set()
    for node in ast.walk(ast.parse((TEMPLATE / file).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = file.removesuffix(".py").split("/")[: -node.level] if node.level else []
            module = ".".join([*package, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def room(name):
    """Return the room that a module, or a name in one, belongs to: harness.cli of harness.cli.parser; None if foreign.

    The docstring of harness alone is in no room.
    """
    parts = name.split(".")
    found = ".".join(parts[:2]) if parts[0] == "harness" else parts[0]
    return found if found in FLOOR_OF else None


def test_every_module_is_in_a_room():
    modules = {file.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for file in CODE}
    assert {name for name in modules if room(name) is None} == {"harness"}
    assert {room(name) for name in modules} - {None} == FLOOR_OF.keys()


def test_imports_point_down():
    graph = {name: set() for name in FLOOR_OF}
    upward = []
    for file in CODE:
        here = room(file.removesuffix(".py").replace("/", "."))
        for name in imports(file):
            there = room(name)
            if here is None or there is None or here == there:
                continue
            graph[here].add(there)
            if FLOOR_OF[there] < FLOOR_OF[here]:
                upward.append(f"{file} imports {name}")
    assert not upward
    TopologicalSorter(graph).prepare()  # no circle


@pytest.mark.parametrize("file", HARNESS)
def test_the_harness_imports_nothing_of_the_users(file):
    """Not by a string, either: main, train, models and data are handed in."""
    assert not {name for name in imports(file) if name.split(".")[0] in ROOT_MODULES}
    strings = [node.value for node in ast.walk(ast.parse((TEMPLATE / file).read_text())) if is_text(node)]
    assert not [text for text in strings if re.fullmatch(r"(import|from) (main|train|sweep_\w+)\b.*", text)]


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_models_and_data_import_what_the_readme_of_the_harness_names():
    for file in CODE:
        if file.startswith(("models/", "data/")):
            rooms = {room(name) for name in imports(file)} - {None, "models", "data"}
            assert rooms <= {"harness.flags", "harness.data", "harness.optimizers"}, file


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_names_of_lightning():
    """Return the underscore names that Lightning defines: functions, methods, attributes and variables."""
    found = set()
    for package in ("pytorch_lightning", "lightning_fabric"):
        for path in Path(importlib.util.find_spec(package).origin).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    found.add(node.name)
                elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                    found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return {name for name in found if is_private(name)}


def private_uses(file, of_lightning):
    """Return the underscore names of Lightning that a file touches.

    These are: an import with an underscore part; an attribute, by name or by getattr and its like, that Lightning
    defines and no class of the file's own does; and in a class that derives from one of Lightning's, any attribute or
    method that Lightning defines, which it would read or override.
    """
    tree = ast.parse((TEMPLATE / file).read_text())
    found = {
        name for name in imports(file) if name.split(".")[0] in LIGHTNING and any(map(is_private, name.split(".")))
    }
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    lightning = {alias.asname or alias.name for alias in imported_from_lightning(tree)}
    of_ours, of_theirs = [], []
    for node in classes:  # a base class comes before what derives from it
        bases = {ast.unparse(base).split(".")[0] for base in node.bases}
        theirs = bool(bases & lightning)
        lightning |= {node.name} if theirs else set()
        (of_theirs if theirs else of_ours).append(node)
    own = {name for node in of_ours for name in attributes(node)}
    found |= {name for name in attributes(tree) & of_lightning if is_private(name)} - own
    found |= {name for node in of_theirs for name in attributes(node) & of_lightning if is_private(name)}
    return found


def imported_from_lightning(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIGHTNING:
            yield from node.names
        elif isinstance(node, ast.Import):
            yield from (alias for alias in node.names if alias.name.split(".")[0] in LIGHTNING)


def attributes(tree):
    """Return the names of all attributes and of all methods in a tree."""
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr", "delattr"):
            found |= {word for argument in node.args if is_text(argument) for word in argument.value.split(".")}
        elif isinstance(node, ast.ClassDef):
            found |= {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


@pytest.fixture(scope="module")
def of_lightning():
    return private_names_of_lightning()


@pytest.mark.parametrize("file", [file for file in CODE if not file.startswith("harness/lightning_2_6/")])
def test_only_one_room_touches_private_names_of_lightning(file, of_lightning):
    if not file.startswith(("models/", "data/")):
        assert not private_uses(file, of_lightning)


def test_the_search_for_private_names_finds_them(of_lightning):
    assert {"_signal_connector", "_save_checkpoint", "_run", "_trainer"} <= of_lightning
    inside = [file for file in CODE if file.startswith("harness/lightning_2_6/")]
    assert set().union(*(private_uses(file, of_lightning) for file in inside))


@pytest.mark.parametrize("file", sorted(file for file in template_files() if file.endswith(".py")))
def test_python_files_hold_template_code_around_search_space_alone(file):
    text = (TEMPLATE / file).read_text()
    compile(text, file, "exec")
    space = r' *# \{% if cookiecutter\.sweeps in \["optuna", "both"\] %\}\n'
    space += r" *@staticmethod\n *def search_space\(.*?\n *# \{% endif %\}\n"
    rest = re.sub(space, "", text, flags=re.DOTALL) if file.startswith(("models/", "data/")) else text
    assert not re.search(r"\{\{|\{%|%\}|cookiecutter", rest)


@pytest.mark.parametrize("script", ["main.py", "sweep_hydra.py", "sweep_optuna.py"])
def test_an_older_python_is_told_that_it_is_too_old(script):
    """By harness/__init__.py, which a script, or main, imports first; an older Python can read these files."""
    tree = ast.parse((TEMPLATE / script).read_text(), feature_version=(3, 7))
    first = next(node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) and not is_standard(node))
    assert ast.unparse(first).split()[1].split(".")[0] in ("harness", "main", "hydra")
    ast.parse((TEMPLATE / "harness" / "__init__.py").read_text(), feature_version=(3, 7))
    pretend = "import sys; sys.version_info = (3, 9, 18, 'final', 0); sys.path.insert(0, '.')\n"
    pretend += "sys.argv = sys.argv[1:]; code = compile(open(sys.argv[0]).read(), sys.argv[0], 'exec')\n"
    pretend += "try: exec(code, {'__name__': '__main__'})\n"
    pretend += "finally: print(sorted({'hydra', 'numpy', 'optuna', 'torch', 'yaml'} & sys.modules.keys()))"
    result = Project(TEMPLATE).python("-c", pretend, script, cwd=TEMPLATE, cold=True)
    assert result.stdout in ("[]\n", "['hydra', 'yaml']\n")  # Hydra itself runs on older ones
    assert (result.returncode, result.stderr) == (1, f"{script}: error: needs Python 3.10 or newer, this is 3.9.18\n")


def is_standard(node):
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
    return all(name.split(".")[0] in sys.stdlib_module_names for name in names)


def test_only_the_chosen_modules_are_imported(project):
    script = "import sys; sys.path.insert(0, '.'); import main; main.parse_args(['--model_name', 'my_model'])\n"
    script += "print(sorted(name for name in sys.modules if name.startswith(('models.', 'data.', 'torch'))))\n"
    script += "from harness.found import MODELS; MODELS.load('my_model')\n"
    script += "print(sorted(name for name in sys.modules if name.startswith(('models.', 'data.'))))"
    result = project.python("-c", script, cold=True)
    assert result.stdout.splitlines() == ["[]", "['models.my_model']"], result.stderr
