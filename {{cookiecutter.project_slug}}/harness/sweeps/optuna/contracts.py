"""The promise of every model and data module that has a search_space: its flags take what it draws."""

from unittest import SkipTest

from harness.contracts import Program, Promise, promise, require, words_for
from harness.found import DATA, MODELS, Found
from harness.sweeps.optuna.space import Space


@promise("every draw of its search space is legal", look="search_space beside the flags")
def its_search_space_is_legal(program: Program, files: Found, name: str) -> None:
    """Draw the ends of all ranges and values between them, parse them, and build the model or data module."""
    search_space = getattr(files.load(name), "search_space", None)
    if search_space is None:
        raise SkipTest("it has none")
    words = words_for(files, name)
    for probe in Space([search_space], {}, {}).probes():
        require(probe.drawn, "it draws nothing")
        drawn = [f"--{flag}={value}" for flag, value in probe.drawn.items()]
        files.build(name, program.parse_args([*words, *drawn]))


def search_space_promises(program: Program) -> list[Promise]:
    """Return the promise of every model and data module."""
    return [
        Promise(its_search_space_is_legal, program, files, name) for files in (MODELS, DATA) for name in files.names()
    ]
