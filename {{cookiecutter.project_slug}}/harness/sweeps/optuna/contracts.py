"""The promise of every model and data module that has a search_space: its flags take what it draws."""

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import SkipTest

from harness.config_files import dump_config
from harness.contracts import Program, Promise, promise, require, words_for
from harness.found import DATA, MODELS, Folder
from harness.sweeps.optuna.space import Space


@promise("every draw of its search space is legal", look="search_space beside the flags")
def its_search_space_is_legal(program: Program, folder: Folder, name: str) -> None:
    """Draw the ends of all ranges and values between them, parse them, and build the model or data module."""
    search_space = getattr(folder.load(name), "search_space", None)
    if search_space is None:
        raise SkipTest("it has none")
    for probe in Space([search_space], {}, {}).probes:
        require(probe, "it draws nothing")
        drawn = {flag: value for flag, (value, _) in probe.items()}
        with TemporaryDirectory() as temporary:
            config = Path(temporary, "drawn.yaml")
            config.write_text(dump_config(drawn), encoding="utf-8")
            args = program.parse_args([*words_for(folder, name), "--config", str(config)])
        for flag, value in drawn.items():
            require(getattr(args, flag) == value, f"--{flag} makes {getattr(args, flag)!r} of {value!r}")
        folder.build(name, args)


def search_space_promises(program: Program) -> list[Promise]:
    """Return the promise of every model and data module."""
    return [
        Promise(its_search_space_is_legal, program, folder, name)
        for folder in (MODELS, DATA)
        for name in folder.names()
    ]
