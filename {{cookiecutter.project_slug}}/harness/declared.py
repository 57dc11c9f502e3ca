"""The flags of a model or data module, read from its file without importing torch, where that is possible.

The hook ``add_model_specific_args`` (or ``add_data_specific_args``) runs alone, with what the file defines by plain
statements and imports from the standard library and from this harness; without a hook, the signature of ``__init__``
is read. What needs more, such as a name from torch or a base class in another file, raises, and ``harness.found``
imports the file instead.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.data_flags import DataFlags
from harness.trainer_args import is_enum

HOOKS = ("add_model_specific_args", "add_data_specific_args")
CONSTANTS = ("data_name", "monitor", "monitor_mode")
# Base classes by name, and what the hooks of a derived class inherit from them.
BASES = {"LightningModule": object, "LightningDataModule": object, "InMemoryData": DataFlags}
# Modules of the harness that import no torch.
LIGHT = {f"harness.{name}" for name in ("data_flags", "errors", "flags", "optimizer_flags", "trainer_args")}


def read_declaration(path: Path, module: str) -> Any:
    """Return a class with the hooks and constants of the model or data module that a file defines.

    Args:
        path: the file.
        module: its name, such as ``models.mnist``.

    Raises:
        LookupError: If the file does not define exactly one such class that can be read.
        Exception: If the file cannot be read, or its statements fail.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    node = leading_class([each for each in tree.body if isinstance(each, ast.ClassDef)])
    inherited = tuple({BASES[word] for word in base_words(node)})
    scope: dict[str, Any] = {"__name__": module, "__file__": str(path), "InMemoryData": DataFlags}
    for statement in tree.body:
        if statement is not node:
            run_if_light(statement, scope)
    own = [each for each in node.body if is_declaration(each)]
    if not any(bound_names(each) & {*HOOKS} for each in own) and inherited == (object,):
        own += [signature_alone(each) for each in node.body if "__init__" in bound_names(each)]
    run([ast.ClassDef("Declared", [], [], [*own, ast.Pass()], [])], scope)
    members = {name: value for name, value in vars(scope["Declared"]).items() if is_member(name)}
    members["__doc__"] = ast.get_docstring(node)
    if any("train_dataloader" in bound_names(each) for each in node.body):
        members["train_dataloader"] = None
    return type(node.name, inherited, {**members, "__module__": module})


def leading_class(classes: list[ast.ClassDef]) -> ast.ClassDef:
    """Return the class that a file is for: the one that derives directly from Lightning's, and from nothing else.

    Raises:
        LookupError: If there is no such class, or several, or a class derives from it.
    """
    derived = {word for each in classes for word in base_words(each)}
    found = [each for each in classes if base_words(each) and set(base_words(each)) <= BASES.keys()]
    if len(found) != 1 or found[0].name in derived or found[0].keywords or found[0].decorator_list:
        raise LookupError("the class can only be told by importing the file")
    others = [each for each in classes if each is not found[0] and {*base_words(each)} & {*BASES, found[0].name}]
    if others:
        raise LookupError("several classes derive from Lightning's")
    return found[0]


def base_words(node: ast.ClassDef) -> list[str]:
    """Return the last word of each base of a class: LightningModule for pl.LightningModule."""
    return [ast.unparse(base).rpartition(".")[2] for base in node.bases]


def is_declaration(statement: ast.stmt) -> bool:
    """Return whether a statement of a class defines a hook, a search space or a constant that the harness reads."""
    return bool(bound_names(statement) & {*HOOKS, *CONSTANTS, "search_space"})


def signature_alone(function: Any) -> ast.FunctionDef:
    """Return ``__init__`` with its parameters and docstring, and without what it does.

    Raises:
        LookupError: If it is no plain function.
    """
    if not isinstance(function, ast.FunctionDef) or function.decorator_list:
        raise LookupError("the parameters of __init__ can only be told by importing the file")
    docstring: list[ast.stmt] = [ast.Expr(ast.Constant(ast.get_docstring(function) or ""))]
    return ast.FunctionDef("__init__", function.args, docstring, [], None, None)


def is_member(name: str) -> bool:
    """Return whether a name of a class is one that the harness reads."""
    return name == "__init__" or not name.startswith("__")


def run_if_light(statement: ast.stmt, scope: dict[str, Any]) -> None:
    """Run a statement of a file, or remove the names that it binds from ``scope`` if it needs heavy imports.

    Raises:
        LookupError: If the names that it binds are not known.
    """
    plain = isinstance(statement, ast.Assign | ast.AnnAssign | ast.FunctionDef | ast.ClassDef)
    if plain or is_light_import(statement):
        try:
            run([statement], scope)
        except Exception:  # a name of a heavy import; the statement's own errors show when the file is imported
            plain = False
        else:
            plain = not (isinstance(statement, ast.ClassDef) and is_enum(scope[statement.name]))
        if plain:  # the members of an enum are compared by identity: they must be those of the imported file
            return
    names = bound_names(statement)
    if "*" in names:
        raise LookupError("the names of a star import are not known without importing it")
    for name in names:
        scope.pop(name, None)


def is_light_import(statement: ast.stmt) -> bool:
    """Return whether a statement imports from the standard library, or from modules of the harness without torch."""
    if isinstance(statement, ast.ImportFrom):
        names = [statement.module or ""] if not statement.level else []
    else:
        names = [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else []
    return bool(names) and all(name in LIGHT or name.split(".")[0] in sys.stdlib_module_names for name in names)


def bound_names(statement: ast.stmt) -> set[str]:
    """Return the names that a statement binds or changes."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    return set(names_in(statement))


def names_in(statement: ast.stmt) -> Iterator[str]:
    """Yield all names in a statement, also those that it only reads: it may change their values."""
    for node in ast.walk(statement):
        if isinstance(node, ast.alias):
            yield node.asname or node.name.split(".")[0]
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


def run(statements: list[ast.stmt], scope: dict[str, Any]) -> None:
    """Run statements."""
    exec(compile(ast.fix_missing_locations(ast.Module(statements, [])), scope["__file__"], "exec"), scope)


def leading(classes: Iterable[type]) -> list[type]:
    """Return the classes of an imported file that may be the one it is for; more than one is too many.

    Base classes of others are left out, as are classes whose names begin with "_", if there are others; of several
    that remain, the one that declares flags is meant.
    """
    found = list(dict.fromkeys(classes))
    found = [each for each in found if not any(each is not other and issubclass(other, each) for other in found)]
    found = [each for each in found if not each.__name__.startswith("_")] or found
    with_flags = [each for each in found if any(hasattr(each, hook) for hook in HOOKS)]
    return with_flags if len(with_flags) == 1 else found
