"""The table and the CSV of a sweep's results."""

import csv
from pathlib import Path

from harness.sweeps.results import Row, as_csv, as_lines, failure

ROWS = [
    Row("3", "complete", {"val_loss": 0.1 + 0.2}, {"rate": 1e-3, "fixed": 2}, {"val_acc": 0.5, "rare": 1.0}, 1.25),
    Row("10", "complete", {"val_loss": 0.5}, {"rate": 1e-2, "fixed": 2}, {"val_acc": 0.25}, command="python main.py"),
    Row(
        "4",
        "failed",
        {"val_loss": None},
        {"rate": 0.1, "fixed": 2},
        error="no, " + 60 * "word ",
        run_dir=Path("runs/4"),
    ),
]


def test_the_csv_has_every_digit_and_every_metric():
    rows = list(csv.DictReader(as_csv(ROWS, "trial").splitlines()))

    assert [row["trial"] for row in rows] == ["3", "10", "4"]
    assert rows[0]["val_loss"] == repr(0.1 + 0.2)
    assert (rows[0]["rare"], rows[1]["rare"], rows[2]["val_loss"]) == ("1.0", "", "")
    assert (rows[0]["seconds"], rows[1]["command"], rows[2]["run"]) == ("1.2", "python main.py", "runs/4")


def test_the_printed_table_omits_equal_values_and_metrics_beyond_the_width():
    wide, narrow = as_lines(ROWS[:2], "trial", 80), as_lines(ROWS[:2], "trial", 35)

    assert wide == [
        "trial  val_loss  rate   val_acc  rare",
        "3      0.3000    0.001  0.5      1",
        "10     0.5000    0.01   0.25",
    ]
    assert narrow[0] == "trial  val_loss  rate   val_acc"


def test_a_failure_is_one_short_line_with_its_file():
    line = failure(ROWS[2], "trial")

    assert line.startswith("trial 4 failed: no, word")
    assert line.endswith("word ... (runs/4/error.txt)")
    assert len(line) < 150
