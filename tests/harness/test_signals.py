"""Signals that arrive where Python drops what a handler raises."""

import os
import signal
import time
import weakref

import pytest

from harness.errors import Stopped
from harness.runs.signals import handled


def send_and_spin(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(10_000):  # the handler runs within this loop
        pass


class SendsInDel:
    __del__ = send_and_spin


def drop_and_wait(drop):
    drop()
    for _ in range(3000):
        time.sleep(0.01)


@pytest.mark.parametrize("drop", [SendsInDel, lambda: weakref.ref(type("Net", (), {})(), send_and_spin)])
def test_a_signal_within_a_finalizer_ends_the_run_without_a_traceback(drop, capsys):
    with pytest.raises(Stopped, match="SIGTERM"), handled():
        drop_and_wait(drop)
    assert "Traceback" not in capsys.readouterr().err


def test_other_errors_of_finalizers_are_reported_as_before(monkeypatch):
    seen = []
    monkeypatch.setattr("sys.unraisablehook", seen.append)

    class Fails:
        def __del__(self):
            raise ValueError("mine")

    with handled():
        Fails()
    (unraisable,) = seen
    assert str(unraisable.exc_value) == "mine"
