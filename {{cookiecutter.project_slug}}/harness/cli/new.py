"""``main.py new model NAME`` and ``main.py new data NAME``: a file to start from, copied from the stub."""

import keyword
import re
from collections.abc import Sequence

from harness import found
from harness.cli.completion import NEW as FOLDERS
from harness.cli.parser import Parser
from harness.errors import UsageError
from harness.files import whole_file

STUBS = {"model": ("my_model", "MyModel"), "data": ("my_data", "MyData")}  # file and class to copy
NAME = re.compile(r"[a-z][a-z0-9_]*")
LONGEST = 60  # characters of a name
DESCRIPTION = "Write a model or a data module to start from; its comments mark what to edit."


def new(argv: Sequence[str]) -> None:
    """Write a new file, and print the commands to use it.

    Args:
        argv: the words after ``new``.

    Raises:
        UsageError: If the name is not valid or exists already, or if the stub is missing.
        OSError: If the file cannot be written.
    """
    parser = Parser(usage="%(prog)s new model|data NAME", description=DESCRIPTION, add_help=True)
    parser.add_argument("kind", choices=list(FOLDERS), help="kind of file")
    parser.add_argument("name", help="name of the file; lower case, digits and _, a letter first")
    args = parser.parse_args(argv)
    folder, (stub, stub_class) = FOLDERS[args.kind], STUBS[args.kind]
    require_good_name(args.kind, args.name)
    path, source = found.ROOT / folder / f"{args.name}.py", found.ROOT / folder / f"{stub}.py"
    if not source.exists() or f"class {stub_class}(" not in (text := source.read_text(encoding="utf-8")):
        raise UsageError(f"{folder}/{stub}.py with its class {stub_class}, which new copies, is missing")
    text = text.replace(stub_class, class_name(args.name, text, args.kind)).replace(stub, args.name)
    with whole_file(path) as file:
        file.write(text.encode())
    print(f"{folder}/{args.name}.py is written; its comments mark what to edit. To train and test it:")
    print(f"  python main.py --{args.kind}_name {args.name}")
    print(f"  pytest -k {args.name}")


def require_good_name(kind: str, name: str) -> None:
    """Raise UsageError if the name is not valid, or a file with this name exists."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or len(name) > LONGEST:
        better = re.sub(r"\W+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name), flags=re.ASCII).strip("_").lower()
        better = better if NAME.fullmatch(better) and not keyword.iskeyword(better) else f"my_{kind}_2"
        raise UsageError(
            f"{name!r} cannot be the name of a {kind} file: take lower-case letters, digits and _, a letter first, at "
            f"most {LONGEST} in all, such as {better[:LONGEST]}"
        )
    folder = FOLDERS[kind]
    if (found.ROOT / folder / name).exists() or (found.ROOT / folder / f"{name}.py").exists():
        raise UsageError(f"{folder}/ has {name} already, which is left as it is: take another name")


def class_name(name: str, text: str, kind: str) -> str:
    """Return the class for a name, such as ConvNet for conv_net, or ConvNetModel if ``text`` has the word ConvNet."""
    words = "".join(word.capitalize() for word in name.split("_"))
    taken = {*re.findall(r"\w+", text), *keyword.kwlist}
    return f"{words}{kind.capitalize()}" if words in taken else words
