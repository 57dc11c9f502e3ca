"""The flags of export: the format of the model, and its file."""

from argparse import ArgumentParser, ArgumentTypeError
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.errors import UsageError

FORMATS = ("onnx", "pt2")
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
NEEDLESS = {"compile": "no", "precision": "32"}  # flags that do not change the exported model, and their values


def add_export_args(parser: ArgumentParser) -> ArgumentParser:
    """Add the flags, and return the parser."""
    group = parser.add_argument_group("export")
    group.add_argument("--to", choices=FORMATS, help="format: ONNX, or a program of torch.export")
    group.add_argument(
        "--output",
        type=model_file,
        metavar="FILE",
        help="file of export; default: RUN/model.onnx or RUN/model.pt2",
    )
    return parser


def model_file(text: str) -> str:
    """Return ``text`` if its suffix is a format for models."""
    if Path(text).suffix[1:] not in FORMATS:
        raise ArgumentTypeError(f"{text!r} does not end in .onnx or .pt2 (the folder of runs is --default_root_dir)")
    return text


def resolve_export(flags: dict[str, Any]) -> None:
    """Check the flags of export, and let ``to`` be the format of ``output`` if only that is given.

    Raises:
        UsageError: If the command is not export, a flag is missing or without effect, the file exists, or packages are
            not installed.
    """
    output = flags["output"]
    if flags["command"] != "export":
        for name in ("to", "output"):
            if flags[name] is not None:
                raise UsageError(f"--{name} is a flag of export: main.py export --ckpt_path FILE --to onnx")
        return
    suffix = Path(output).suffix[1:] if output is not None else None
    flags["to"] = flags["to"] or suffix
    if flags["to"] is None:
        raise UsageError("export needs a format: add --to onnx or --to pt2")
    if suffix not in (None, flags["to"]):
        raise UsageError(f"--output {output} is no name for --to {flags['to']}: let it end in .{flags['to']}")
    for path in (output, f"{output}.data"):
        if output is not None and Path(path).exists():
            raise UsageError(f"--output: {path} exists already: name another file, or remove it")
    if flags["compile"] or flags["precision"] not in (None, 32, "32", "32-true"):
        name = "compile" if flags["compile"] else "precision"
        raise UsageError(f"--{name} does not change an exported model: add --{name} {NEEDLESS[name]}")
    missing = [name for name in ONNX_PACKAGES if flags["to"] == "onnx" and find_spec(name) is None]
    if missing:
        raise UsageError(f'--to onnx: {missing[0]} is not installed: pip install -e ".[export]"')
