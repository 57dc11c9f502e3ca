"""One more promise of every model and data module with a search_space: its flags take what it draws."""

import pytest

import main
import train
from harness.contracts import Program
from harness.sweeps.optuna.contracts import search_space_promises

PROGRAM = Program(main.parse_args, train.train, train.evaluate, main.__file__)


@pytest.mark.parametrize("promise", search_space_promises(PROGRAM), ids=str)
def test_promise(promise):
    promise.require()
