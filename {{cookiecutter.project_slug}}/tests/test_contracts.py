"""The promises of every model in models/ and every data module in data/; harness/contracts.py checks them."""

import pytest

import main
import train
from harness.contracts import Program, promises, slow_promises

PROGRAM = Program(main.parse_args, train.train, train.evaluate, main.__file__)


@pytest.mark.parametrize("promise", promises(PROGRAM), ids=str)
def test_promise(promise):
    promise.require()


@pytest.mark.slow
@pytest.mark.parametrize("promise", slow_promises(PROGRAM), ids=str)
def test_promise_with_two_processes(promise):
    promise.require()
