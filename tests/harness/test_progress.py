"""The bar on a terminal, and the lines where there is none."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

from harness import found
from tests.conftest import popen, run

ENVIRONMENT = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
WORDS = ["--model_name", "my_model", "--max_epochs", "2", "--enable_model_summary", "no"]
LINE = re.compile(r"epoch [01]: train_loss [\d.]+, val_loss [\d.]+, val_accuracy [\d.]+")


def command(*more):
    return [sys.executable, str(found.ROOT / "main.py"), *WORDS, *more]


def test_a_file_gets_a_line_for_each_epoch():
    lines = run(command(), cwd=Path.cwd(), env=ENVIRONMENT).stdout.splitlines()
    assert [bool(LINE.fullmatch(line)) for line in lines[:2]] == [True, True]
    assert lines[2].split()[0] == "test_accuracy"


def test_a_terminal_gets_a_bar_that_is_drawn_rarely():
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))  # rows and columns
    process = popen(command("--batch_size", "4"), cold=True, stdout=slave, stderr=subprocess.DEVNULL)
    os.close(slave)
    shown = b""
    try:
        while part := os.read(master, 1 << 16):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(master)
    assert process.wait() == 0
    text = shown.decode()
    assert re.search(r"Epoch 1: +325/325", text)
    assert "epoch 1" not in text
    drawn = re.findall(r"Epoch \d+: +\d+/", text)
    assert len(drawn) < 200  # of 650 batches


def test_no_bar_is_no_line():
    result = run(command("--enable_progress_bar", "no"), cwd=Path.cwd(), env=ENVIRONMENT)
    assert result.returncode == 0
    assert "epoch 0" not in result.stdout
