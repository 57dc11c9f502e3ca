"""What a terminal of 80 columns shows of a run, as a terminal emulator draws it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pyte

COLUMNS, LINES = 80, 60


def screen(project, *argv, cwd):
    """Return the lines that a run leaves on a terminal, without spaces at their ends."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    command = [sys.executable, str(project.path / "main.py"), *argv]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=slave, stderr=slave, cwd=cwd, env=environment)
    os.close(slave)
    terminal = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(terminal)
    try:
        while part := os.read(master, 1 << 16):
            stream.feed(part)
    except OSError:  # the other end is closed
        pass
    os.close(master)
    assert process.wait() == 0
    return [line.rstrip() for line in terminal.display]


def test_a_run_is_readable_on_80_columns(project, tmp_path):
    """val_accuracy was cut off, messages were written into the bar, and FLOPs were a column of zeros."""
    shown = screen(project, "--max_epochs", "2", cwd=tmp_path)
    text = "\n".join(shown)
    (bar,) = [line for line in shown if line.startswith("Epoch")]
    assert re.fullmatch(r"Epoch 1: +21/21 \S+ 00:00, train_loss=[\d.]+, val_loss=[\d.]+, val_accuracy=[\d.]+", bar)
    assert [line for line in shown if "stopped" in line] == ["`Trainer.fit` stopped: `max_epochs=2` reached."]
    assert "FLOPs" not in text
    assert "Restoring" not in text
    assert len(re.findall("Loaded model weights", text)) == 1
    assert str(tmp_path) not in text
    assert [line for line in shown if line.startswith("val_accuracy ")]
    summary = shown.index("  | Name    | Type   | Params | Mode")
    assert shown[summary + 1] == "0 | layer_1 | Linear | 100 K  | train"
    assert shown[summary + 4] == "136 K parameters, 136 K of them trainable, 0.544 MB"
