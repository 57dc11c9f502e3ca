"""The flags of a model or data module, read from its file without its imports: torch alone takes seconds.

The statements of the file run one by one, with each class cut down to its flags, and without the imports of other
packages. A statement that needs what is left out is left out itself, with every name in it. So the flags come out as in
the file, or not at all; then ``modules.declaration`` imports it.
"""

import ast
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.errors import Stopped

HOOKS = {"add_model_specific_args", "add_data_specific_args"}
# The flags, the data that a model is made for, what its best epoch is.
DECLARED = {*HOOKS, "data_name", "monitor", "monitor_mode"}
# {% if cookiecutter.sweeps in ["optuna", "both"] %}
DECLARED |= {"search_space"}
# {% endif %}
LIGHT = {"harness.errors", "harness.flags", "harness.trainer_args"}  # imported as they are, like the standard library


class LightningModule:
    """Stands in for Lightning's class of this name."""


class LightningDataModule:
    """Stands in for Lightning's class of this name."""


STAND_INS = {stand_in.__name__: stand_in for stand_in in (LightningModule, LightningDataModule)}


def read_declaration(root: Path, module: str) -> Any:
    """Return the Lightning class that ``module``, a file or package below ``root``, defines, with its flags alone.

    Raises:
        LookupError: there is not exactly one that can be read.
        OSError, SyntaxError: the file cannot be.
    """
    # Not those that the file imports from elsewhere; those of its own package count.
    scope = read(root, module)
    found = leading(value for value in scope.values() if is_lightning(value) and is_defined_in(module, value))
    if len(found) != 1:
        raise LookupError(f"{module} does not have one Lightning class that can be read without its imports")
    return found[0]


def leading(classes: Iterable[type]) -> list[type]:
    """Return those of the Lightning classes of a file that may be the one it is for; more than one is too many.

    Classes that others derive from are not meant, nor are those whose names begin with "_", where there are more; of
    several that are left, the one that declares flags.
    """
    found = list(dict.fromkeys(classes))
    found = [each for each in found if not any(each is not other and issubclass(other, each) for other in found)]
    found = [each for each in found if not each.__name__.startswith("_")] or found
    with_flags = [each for each in found if any(hasattr(each, hook) for hook in HOOKS)]
    return with_flags if len(with_flags) == 1 else found


def is_defined_in(module: str, value: type) -> bool:
    """Return whether a class is of a module, or of a part of it if it is a package; not imported from elsewhere."""
    return f"{value.__module__}.".startswith(f"{module}.")


def is_lightning(value: Any) -> bool:
    """Return whether a value is a class that derives from a stand-in."""
    return isinstance(value, type) and issubclass(value, tuple(STAND_INS.values()))


def read(root: Path, module: str) -> dict[str, Any]:
    """Return what the names in a file stand for, as far as it can be told without its imports."""
    path = root.joinpath(*module.split("."))
    package = module if path.is_dir() else module.rpartition(".")[0]
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    scope: dict[str, Any] = {"__name__": module, "__file__": str(path), **STAND_INS}
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            bind_import(statement, root, package, scope)
            continue
        try:
            run(cut(statement) if isinstance(statement, ast.ClassDef) else statement, scope)
        except Stopped:
            raise
        except (Exception, SystemExit) as error:  # it needs what is left out; its own errors show at its import
            if isinstance(statement, ast.ClassDef) and is_wanted(statement, scope):
                raise LookupError(f"{module}.{statement.name} cannot be read without its imports") from error
            definition = isinstance(statement, ast.ClassDef | ast.FunctionDef)
            for node in [statement] if definition else ast.walk(statement):
                scope.pop(getattr(node, "id", getattr(node, "name", "")), None)
    return scope


def bind_import(statement: ast.Import | ast.ImportFrom, root: Path, package: str, scope: dict[str, Any]) -> None:
    """Put into ``scope`` what an import binds, if it is light or from a file of the project; else take it out."""
    module = statement.names[0].name if isinstance(statement, ast.Import) else statement.module or ""
    if isinstance(statement, ast.ImportFrom) and statement.level:
        parents = package.split(".")[: package.count(".") + 2 - statement.level]
        module = ".".join([*parents, module]).rstrip(".")
    if module in LIGHT or module.split(".")[0] in sys.stdlib_module_names:
        run(statement, scope)
        return
    file = root.joinpath(*module.split(".")).with_suffix(".py")
    names = read(root, module) if isinstance(statement, ast.ImportFrom) and file.exists() else STAND_INS
    for alias in statement.names:
        if alias.name == "*":
            raise LookupError(f"what {module} brings is not known without importing it")
        scope.pop(alias.asname or alias.name.split(".")[0], None)
        if alias.name in names:
            scope[alias.asname or alias.name] = names[alias.name]


def is_wanted(node: ast.ClassDef, scope: dict[str, Any]) -> bool:
    """Return whether a class that could not be read derives from a Lightning class, or declares something."""
    words = [ast.unparse(base).split(".")[-1] for base in node.bases]
    bases = [STAND_INS.get(word) or scope.get(word) for word in words]
    return any(map(is_lightning, bases)) or any(names_in(statement) & DECLARED for statement in node.body)


def cut(node: ast.ClassDef) -> ast.ClassDef:
    """Return a class with what it declares alone, and a ``train_dataloader`` that does nothing if it has one."""
    words = [ast.unparse(base).split(".")[-1] for base in node.bases]
    bases = [
        ast.Name(word, ast.Load()) if word in STAND_INS else base for word, base in zip(words, node.bases, strict=True)
    ]
    declared = [statement for statement in node.body if names_in(statement) & DECLARED]
    has_loader = any("train_dataloader" in names_in(statement) for statement in node.body)
    loader = ast.parse("train_dataloader = ...  # it has one").body if has_loader else []
    return ast.ClassDef(node.name, bases, node.keywords, [*declared, *loader, ast.Pass()], node.decorator_list)


def names_in(statement: ast.stmt) -> set[str]:
    """Return the name of the function that a statement defines; of another one all names in it."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return {statement.name}
    return {getattr(part, "id", getattr(part, "name", "")) for part in ast.walk(statement)}


def run(statement: ast.stmt, scope: dict[str, Any]) -> None:
    """Run one statement."""
    exec(compile(ast.fix_missing_locations(ast.Module([statement], [])), scope["__file__"], "exec"), scope)
