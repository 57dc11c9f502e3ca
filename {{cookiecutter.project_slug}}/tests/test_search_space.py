"""One more promise of every model and data module: what its search_space draws, its flags take."""

import pytest
from test_contracts import plain_model, promise, require

from harness import found as modules
from harness.found import file_of, load, names
from harness.sweeps.optuna.space import Space, with_drawn
from main import parse_args, program_parser, trained_parser

FILES = [("models", name) for name in names("models")] + [("data", name) for name in names("data")]


@pytest.mark.parametrize(("folder", "name"), FILES)
def test_its_search_space_is_legal(folder, name):
    with promise(file_of(folder, name), "every draw of its search space is legal", "search_space beside the flags"):
        module_class = load(folder, name)
        if not hasattr(module_class, "search_space"):
            pytest.skip("it has none")
        choice = ["--model_name", name] if folder == "models" else ["--model_name", plain_model(), "--data_name", name]
        parser, _ = trained_parser(choice, program_parser())
        space = Space([module_class.search_space], {}, {})
        for probe in space.probes():
            require(probe.drawn, "it draws nothing")
            args = with_drawn(parse_args(choice), probe.drawn, parser)
            modules.build(folder, name, args)
