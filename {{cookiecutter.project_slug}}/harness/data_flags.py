"""The flags of in-memory data, apart from ``harness.data``, since help must not import torch."""

from argparse import ArgumentParser, ArgumentTypeError

from harness.flags import count, positive_int, yes_no


def fold(text: str) -> str:
    """Return ``text`` if it is a fold, such as 1/5, the first of five."""
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) and int(of) > 1):
        raise ArgumentTypeError(f"{text!r} is not a fold, such as 1/5, the first of five")
    return text


class DataFlags:
    """Base class of ``InMemoryData`` that declares its flags."""

    @staticmethod
    def add_data_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        """Add the flags of the loaders."""
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        group = parser.add_argument_group("data")
        group.add_argument("--batch_size", type=positive_int, default=64, help="samples per batch and process")
        group.add_argument("--num_workers", type=count, default=0, help="processes that fetch batches; 0: this one")
        group.add_argument(
            "--fold", type=fold, metavar="K/N", help="validate on part K of N of train and val, train on the others"
        )
        group.add_argument(
            "--data_on_device", type=yes_no, nargs="?", const=True, default=False, help="move all data there at once"
        )
        return parser
