"""The flags of a model or data module, read from its file without its imports: torch alone takes seconds.

The statements of the file run one by one, with each class cut down to its flags, and without the imports of other
packages. A statement that needs what is left out is left out itself, with every name in it. So the flags come out as in
the file, or not at all; then ``modules.declaration`` imports it.
"""

import ast
import sys
from pathlib import Path
from typing import Any

import signals

HOOKS = {"add_model_specific_args", "add_data_specific_args"}
LIGHT = {*sys.stdlib_module_names, "args", "trainer_args"}  # imported as they are


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
    found = {
        value
        for value in read(root, module).values()
        if isinstance(value, type)
        and issubclass(value, tuple(STAND_INS.values()))
        and f"{value.__module__}.".startswith(f"{module}.")
    }
    if len(found) != 1:
        raise LookupError(f"{module} does not have one Lightning class that can be read without its imports")
    return found.pop()


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
        except signals.Stopped:
            raise
        except (Exception, SystemExit):  # it needs what is left out; an error of its own shows at its import
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
    if module.split(".")[0] in LIGHT:
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


def cut(node: ast.ClassDef) -> ast.ClassDef:
    """Return a class with its flags alone, and a ``train_dataloader`` that does nothing if it has one."""
    words = [ast.unparse(base).split(".")[-1] for base in node.bases]
    bases = [
        ast.Name(word, ast.Load()) if word in STAND_INS else base for word, base in zip(words, node.bases, strict=True)
    ]
    names = [
        {getattr(part, "id", getattr(part, "name", "")) for part in ast.walk(statement)} for statement in node.body
    ]
    hooks = [statement for statement, used in zip(node.body, names, strict=True) if used & HOOKS]
    loader = (
        ast.parse("train_dataloader = ...  # it has one").body
        if any("train_dataloader" in used for used in names)
        else []
    )
    return ast.ClassDef(node.name, bases, node.keywords, [*hooks, *loader, ast.Pass()], node.decorator_list)


def run(statement: ast.stmt, scope: dict[str, Any]) -> None:
    """Run one statement."""
    exec(compile(ast.fix_missing_locations(ast.Module([statement], [])), scope["__file__"], "exec"), scope)
