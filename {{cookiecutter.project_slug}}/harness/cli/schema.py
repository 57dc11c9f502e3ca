"""The JSON schema of config files, made from the parser: names, types, choices, defaults and texts of all flags.

What the schema accepts, the parser accepts: numbers and switches as YAML has them, and as texts of the command line. Of
texts that mean the same, such as YES and yes, the schema has one. A type that a model has written itself is known to
the parser alone: here such a flag takes any value.
"""

import json
import re
import sys
from argparse import SUPPRESS, Action, ArgumentParser, BooleanOptionalAction, _AppendAction, _CountAction
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from math import isfinite
from pathlib import Path
from typing import Any

from harness.cli import export_flags, run_flags
from harness.config_files import as_setting, plain
from harness.data_flags import fold
from harness.flags import count, positive_float, positive_int, yes_no
from harness.signature import SignatureFlag
from harness.trainer_args import NO, YES, Formerly, GoneFlag, OffFlag, Several, TrainerFlag, is_enum

Schema = dict[str, Any]


def text(pattern: str) -> Schema:
    """Return the schema of texts of a form."""
    return {"type": "string", "pattern": f"^({pattern})$"}


SCALAR: Schema = {"type": ["string", "number", "boolean"]}  # what is read as text anyway
UNKNOWN: list[Schema] = [SCALAR, {"type": "array", "items": SCALAR}]
SWITCH: list[Schema] = [{"type": "boolean"}, {"enum": [*YES, *NO]}]
WHOLE: list[Schema] = [{"type": "integer"}, text("[+-]?[0-9]{1,18}")]
FORM = r"([0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})([eE][+-]?[0-9]{1,2})?"
NUMBER, ABOVE_0 = text(f"[+-]?{FORM}"), text(rf"\+?(?=[0-9.]*[1-9]){FORM}")
LARGEST = sys.float_info.max  # infinity is no value of most flags
OF_TYPE: dict[Any, list[Schema]] = {
    None: [SCALAR],
    str: [SCALAR],
    Path: [SCALAR],
    int: WHOLE,
    float: [{"type": "number"}, NUMBER, {"enum": ["inf", "nan"]}],
    yes_no: [*SWITCH, {"enum": ["1", "0"]}],
    count: [{"type": "integer", "minimum": 0}, text("[0-9]{1,18}")],
    positive_int: [{"type": "integer", "minimum": 1}, text("0{0,9}[1-9][0-9]{0,17}")],
    positive_float: [{"type": "number", "exclusiveMinimum": 0, "maximum": LARGEST}, ABOVE_0],
    fold: [{"enum": [f"{number}/{of}" for of in range(2, 21) for number in range(1, of + 1)]}],
    run_flags.seed: [{"type": "integer", "minimum": 0, "maximum": 2**32 - 1}, text("[0-9]{1,9}")],
    run_flags.all_or_count: [{"type": "integer", "minimum": -1}, text("-1|[0-9]{1,18}")],
    run_flags.share: [{"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, text(r"0?\.[0-9]{0,14}[1-9]")],
    run_flags.norm_order: [{"type": "number", "exclusiveMinimum": 0}, ABOVE_0, {"enum": ["inf"]}],
    run_flags.run_name: [text("[A-Za-z0-9]([A-Za-z0-9._=-]{0,98}[A-Za-z0-9_=-])?")],
    run_flags.schedule: [text("[0-9]+:[1-9][0-9]*(,[0-9]+:[1-9][0-9]*)*")],
    run_flags.tags: [text(r"[A-Za-z0-9_.+/-]+(,[A-Za-z0-9_.+/-]+)*")],
    export_flags.model_file: [{"type": "string", "pattern": r"[^./\\]\.(onnx|pt2)$"}],
    run_flags.table_file: [{"type": "string", "pattern": r"[^./\\]\.(csv|npz|pt)$"}],
}


def schema_text(parser: ArgumentParser, flags: Collection[str] | None = None) -> str:
    """Return the schema as JSON in one line.

    Args:
        parser: the parser of the command line, for one model and data.
        flags: the names to keep; by default all.
    """
    properties: dict[str, Schema] = {}
    for action in parser._actions:
        if has_value(action) and (flags is None or action.dest in flags):
            options = [each[2:] for each in action.option_strings if each.startswith("--") and action.nargs != 0]
            properties = dict.fromkeys([action.dest, *options], flag_schema(action)) | properties
    schema: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}
    schema |= {"properties": dict(reversed(properties.items())), "additionalProperties": False}
    return json.dumps(schema, separators=(",", ":"), allow_nan=False) + "\n"


def has_value(action: Action) -> bool:
    """Return whether a config file may give a flag; --command, the first word of a command line, is hidden in help."""
    is_setting = action.default != SUPPRESS and action.dest != "config" and not isinstance(action, OffFlag | GoneFlag)
    is_setting = is_setting and not getattr(action, "is_of_command", False)
    return is_setting and bool(action.option_strings) and (action.help != SUPPRESS or action.dest == "command")


def flag_schema(action: Action) -> Schema:
    """Return the schema of the value of a flag."""
    default = as_json(action.default)
    values = [*values_of(action), {"type": "null"} if default is None else {"enum": [default]}]
    if isinstance(action.default, float) and not isfinite(action.default):
        values.append({"type": "number"})  # JSON has no infinity
    about = re.split(r"(?<=[a-z`)])\. ", (action.help or "").replace("%%", "%"))[0]
    return {**one_of(values), **({"description": about} if about not in ("", SUPPRESS) else {}), "default": default}


def values_of(action: Any) -> list[Schema]:
    """Return schemas of which a value fits one, beside the default."""
    if action.nargs == 0:
        if isinstance(action, _CountAction):
            least = (action.default or 0) + (action.default is None)
            return [{"type": "integer", "minimum": least, "maximum": least + 100}]
        is_switch = isinstance(action, BooleanOptionalAction) or isinstance(action.const, bool)
        return SWITCH if is_switch else [{"enum": spellings(action.const)}] if action.const is not None else []
    items = OF_TYPE.get(action.type, UNKNOWN)
    if isinstance(action, TrainerFlag | SignatureFlag):
        items = list(of_kinds(action.kinds))
    elif isinstance(action.choices, range) and action.choices.step == 1:
        items = [{"type": "integer", "minimum": action.choices.start, "maximum": action.choices.stop - 1}]
    elif isinstance(action.choices, Iterable):
        items = [{"enum": [each for choice in action.choices for each in spellings(choice)]}]
    if action.nargs in (None, "?") and not isinstance(action, _AppendAction):
        return items
    several: Schema = {"type": "array", "items": in_list(items)}
    if isinstance(action, _AppendAction):  # to its default
        first = [{"enum": spellings(each)} for each in action.default or ()]
        if action.nargs not in (None, "+", "*"):
            return UNKNOWN
        one = items if action.nargs is None else [in_list(items)]
        return [several | {"prefixItems": first, "minItems": len(first)}] if first else [*one, several]
    if isinstance(action.nargs, int):
        return [several | {"minItems": action.nargs, "maxItems": action.nargs}]
    return [in_list(items), several | ({"minItems": 1} if action.nargs == "+" else {})]


def of_kinds(kinds: Sequence[Any]) -> Iterator[Schema]:
    """Yield the schemas of the types and literal values that ``trainer_args.convert`` takes."""
    for kind in kinds:
        if kind is None:
            yield from ({"type": "null"}, {"enum": ["none"]})
        elif kind is bool:
            yield from SWITCH
        elif kind is float:
            yield from ({"type": "number", "minimum": -LARGEST, "maximum": LARGEST}, NUMBER)
        elif kind is int and float not in kinds:
            yield from WHOLE
        elif kind is list:
            item = {"type": "integer", "minimum": 0}
            yield from ({"type": "array", "items": item, "minItems": 1}, text("[0-9]{1,9}(,[0-9]{1,9})*,?"))
        elif kind is str and timedelta in kinds:
            yield text("[0-9]+:[0-9][0-9]:[0-9][0-9]:[0-9][0-9]")
        elif kind in (str, Path):
            yield SCALAR
        elif isinstance(kind, Several):
            name = "|".join(kind)
            yield from (text(f"({name})(,({name}))*"), {"type": "array", "items": {"enum": [*kind]}, "minItems": 1})
        elif is_enum(kind):
            yield {"enum": [each for member in kind for each in (member.name, *spellings(member.value))]}
        elif not isinstance(kind, type | Formerly):
            yield {"enum": spellings(kind)}


def in_list(items: Sequence[Schema]) -> Schema:
    """Return the schema of a value among several, which must not look like a flag."""
    texts = [text("[^-].*|"), {"type": ["number", "boolean"]}]
    return one_of([each for item in items if "items" not in item for each in (texts if item == SCALAR else [item])])


def one_of(values: Sequence[Schema]) -> Schema:
    """Return a schema of which a value fits one of several; those that list values become one."""
    listed = {json.dumps(value): value for each in values for value in each.get("enum", ())}
    found = list({json.dumps(each): each for each in values if "enum" not in each}.values())
    found += [{"enum": list(listed.values())}] if listed else []
    return found[0] if len(found) == 1 else {"anyOf": found}


def spellings(value: Any) -> list[Any]:
    """Return a value as YAML has it, and as the text of the command line."""
    return [as_json(value)] if isinstance(value, str) else [as_json(value), as_setting(value)]


def as_json(value: Any) -> Any:
    """Return a value as a config file has it; infinite numbers, which JSON does not have, as text."""
    value = plain(value)
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return as_setting(value) if isinstance(value, float) and not isfinite(value) else value
