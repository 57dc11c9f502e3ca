"""``main.py runs plot``: what its files show, and what it refuses."""

import csv
import json
import re
import subprocess
import sys
from io import BytesIO
from math import nan
from pathlib import Path

import matplotlib.image
import pytest

from harness.history import plot
from harness.history.plot_content import COLORS
from tests.conftest import TEMPLATE
from tests.harness.program import main
from tests.harness.test_runs_table import FIT, HOLDER, made


@pytest.fixture
def plotted(capsys):
    """Return a function that runs ``runs plot``, and gives the lines on stdout and on stderr."""

    def run(*argv):
        capsys.readouterr()
        main(["runs", "plot", *argv])
        out, err = capsys.readouterr()
        return out.splitlines(), err.splitlines()

    return run


@pytest.fixture
def refused(capsys):
    """Return a function that gives the line with which a command line is refused; no file must change."""

    def run(*argv):
        before = sorted(Path().rglob("*"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["runs", "plot", *argv])
        assert ended.value.code == 2
        out, err = capsys.readouterr()
        assert (out, sorted(Path().rglob("*"))) == ("", before)
        return err.splitlines()[-1]

    return run


def curves(page="runs/curves.html"):
    """Return what a page draws: the points of each run in each chart, by the title of the chart and the name."""
    text = Path(page).read_text()
    start = re.search(r'Plotly\.newPlot\(\s*"curves",\s*', text).end()
    decoder = json.JSONDecoder()
    lines, end = decoder.raw_decode(text, start)
    layout, _ = decoder.raw_decode(text, text.index("{", end))
    titles = [each["text"] for each in layout["annotations"]]
    charts = {}
    for line in lines:
        number = int(line["xaxis"].removeprefix("x") or 1)
        points = dict(zip(line["x"], line["y"], strict=True))
        charts.setdefault(titles[number - 1], {})[line["name"]] = points
    return charts


def colors(file):
    """Return which colours of curves are in an image, but for the grey, which text has, too."""
    pixels = (matplotlib.image.imread(BytesIO(Path(file).read_bytes()), format="png") * 255).round().astype(int)
    found = set((pixels[..., :3] @ [1 << 16, 1 << 8, 1]).flat)
    return {color for color in COLORS[:6] if int(color[1:], 16) in found}


def test_real_runs_one_of_them_resumed(plotted):
    main([*FIT, "--run_name", "base", "--log_every_n_steps", "1"])
    main(["--ckpt_path", "last", "--max_epochs", "3", "--enable_progress_bar", "no"])
    main([*FIT, "--run_name", "other", "--learning_rate", "0.5", "--log_every_n_steps", "1"])
    assert plotted("base", "other") == (["runs/curves.png", "runs/curves.html"], [])
    charts = curves()
    assert charts.keys() == {"train_loss", "val_loss", "val_accuracy"}  # tests are of no step
    rows = list(csv.DictReader(Path("runs/base/metrics.csv").read_text().splitlines()))
    train = {int(row["step"]): float(row["train_loss"]) for row in rows if row["train_loss"]}
    assert charts["train_loss"]["base"] == train
    assert sorted(train) == list(range(6))
    assert list(charts["val_loss"]["base"]) == [1, 3, 5]  # not that of the best weights, after training
    assert list(charts["val_loss"]["other"]) == [1]
    page = Path("runs/curves.html").read_text()
    assert "<h1>base, other</h1>" in page
    table = page.split("<h2>Flags that differ</h2>")[1]
    cells = re.findall(r"<t[hd]>(.*?)</t[hd]>", re.sub(r"</?span[^>]*>|&#9679;|&nbsp;", "", table))
    assert cells[:4] == ["run", "best val_loss", "max_epochs", "learning_rate"]
    assert [cells[4], *cells[6:8]] == ["base", "3", "0.01"]
    assert not re.search(r"<(script|link)[^>]* (src|href)=", page)
    assert colors("runs/curves.png") == set(COLORS[:2])


def test_values_are_placed_right(plotted):
    """Rows of training and validation, NaN, a step that was logged twice, a row that is being written, a rate."""
    rows = ["0,1,4,", "0,3,2,", "0,3,,8", ",5,,", "1,5,nan,", "1,7,inf,", "1,7,,6", "2,9,1,", "2,9,3,", "2,11,x,5"]
    run_dir = made("one", rows=rows)
    with (run_dir / "metrics.csv").open("a") as file:
        file.write("3,13,9")
    made("two", rows=["0,1,1,"])
    plotted("one", "two", "--output", "steps.html")
    found = curves("steps.html")
    assert found["train_loss"] == {"one": {1: 4, 3: 2, 5: None, 7: None, 9: 3}, "two": {1: 1}}
    assert found["val_loss"] == {"one": {3: 8, 7: 6, 11: 5}}
    plotted("one", "two", "--x", "epoch", "--metrics", "val_loss, train_loss", "--output", "epochs.html")
    found = curves("epochs.html")
    assert list(found) == ["val_loss", "train_loss"]
    assert found["train_loss"] == {"one": {0: 3, 1: None, 2: 3}, "two": {0: 1}}
    assert found["val_loss"] == {"one": {0: 8, 1: 6, 2: 5}}


def test_a_long_curve_is_drawn_by_means(plotted):
    made("long", rows=[f"0,{step},{step % 10}," for step in range(20_000)])
    plotted("long", "--output", "runs/curves.html")
    points = curves()["train_loss"]["long"]
    assert len(points) == 2000
    assert set(points.values()) == {4.5}
    assert list(points)[-1] == 19_999


def test_a_value_without_an_epoch_has_that_of_its_step(plotted):
    run_dir = made("one")
    (run_dir / "metrics.csv").write_text("epoch,lr-Adam,step,val_loss\n,3,1,\n,5,3,\n0,,3,1\n,8,5,\n1,,7,1\n,9,8,\n")
    plotted("one", "--x", "epoch")
    assert curves()["lr-Adam"] == {"one": {0: 4, 1: 8.5}}


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg", "html"])
def test_the_suffix_chooses_the_kind(plotted, suffix):
    made("one", rows=["0,1,1,"])
    begin = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml", "html": b"<!doctype html>"}[suffix]
    assert plotted("one", "--output", f"new/x.{suffix}") == ([f"new/x.{suffix}"], [])
    assert [path.name for path in Path("new").iterdir()] == [f"x.{suffix}"]
    assert Path(f"new/x.{suffix}").read_bytes().startswith(begin)


def test_names(plotted):
    """A path, a folder of runs, and a run named twice; names that HTML or matplotlib could take for code."""
    odd = "a<b>&$x_1$"
    for name in ("one", "seeds/1", "seeds/2", odd):
        made(name, rows=["0,1,1,", "1,3,0.5,"], seed=name)
    plotted("runs/one", "one", "seeds", odd)
    escaped = "a&lt;b&gt;&amp;$x_1$"
    assert list(curves()["train_loss"]) == ["one", "seeds/1", "seeds/2", escaped]
    page = Path("runs/curves.html").read_text()
    assert f"<h1>one, seeds/1, seeds/2, {escaped}</h1>" in page
    assert colors("runs/curves.png") == set(COLORS[:4])


def test_more_runs_and_flags_than_there_are_colours_and_columns(plotted):
    for number in range(9):
        made(f"{number:030}", rows=["0,1,1,"], notes="word " * 40, **{f"flag_{each}": number for each in range(9)})
    plotted(".")
    lines = curves()["train_loss"]
    assert len(lines) == 9
    page = Path("runs/curves.html").read_text()
    assert "<h1>9 runs</h1>" in page
    assert {f"flag_{each}" for each in range(9)} <= set(re.findall(r"<th>(\w+)</th>", page))


def test_a_running_run_is_drawn(plotted):
    run_dir = made("one", state="running", rows=["0,1,1,"])
    environment = {"PYTHONPATH": str(TEMPLATE), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", HOLDER, str(run_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "held\n"
        plotted("one")
        process.kill()
    assert curves() == {"train_loss": {"one": {1: 1}}}


@pytest.mark.parametrize(
    "content",
    [None, b"", b"epoch,step,val_loss\n", b"\xff\xfe\0", b"val_loss\n3\n", b"step,val_loss\n1,x\n,2\ninf,3\n"],
)
def test_a_run_without_curves_is_left_out(plotted, refused, content):
    made("one", rows=["0,1,1,2"])
    run_dir = made("two")
    if content is not None:
        (run_dir / "metrics.csv").write_bytes(content)
    out, err = plotted("one", "two")
    assert (len(out), err) == (2, ["two has no metrics, and is left out"])
    assert curves()["val_loss"] == {"one": {1: 2}}
    assert "no metrics in two: training writes metrics.csv with --logger csv" in refused("two")


def test_a_log_that_cannot_be_read_is_named(plotted):
    made("one", rows=["0,1,1,"])
    (made("two") / "metrics.csv").mkdir()
    made("three", rows=["0,1,,3"])
    (made("four", rows=["0,1,1,"]) / "run.json").write_text('{"fit_rows": "x"}')
    _, err = plotted("one", "two", "three", "four", "--metrics", "train_loss")
    assert err[0].startswith("two: ")
    assert "Is a directory" in err[0]
    assert err[1:] == ["two has no train_loss, and is left out", "three has no train_loss, and is left out"]
    assert list(curves()["train_loss"]) == ["one", "four"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: NAME"),
        (["one", "tow"], "there is no run tow below runs; did you mean two?"),
        (["one", "--metrics", "val_los"], "--metrics val_los: no run has it, did you mean val_loss?"),
        (["one", "--x", "time"], "'time' is not one of step, epoch"),
        (["one", "--output", "x.gif"], "--output x.gif: the name ends in none of .png, .pdf, .svg, .html"),
        (["one", "--output", "x"], "--output x: the name ends in none of"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(refused, argv, message):
    made("one", rows=["0,1,1,2"])
    made("two", rows=["0,1,1,2"])
    assert message in refused(*argv)


def test_missing_packages_are_named(refused, plotted, monkeypatch):
    made("one", rows=["0,1,1,2"])
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    assert 'runs plot needs matplotlib and plotly: pip install -e ".[plots]"' in refused("one")
    monkeypatch.setattr(plot, "find_spec", lambda name: None if name == "plotly" else name)
    line = refused("one")
    assert 'runs plot needs plotly: pip install -e ".[plots]", or add --output FILE.png' in line
    assert plotted("one", "--output", "x.png") == (["x.png"], [])


def test_no_torch_is_needed():
    made("one", rows=["0,1,1,2", f"1,3,{nan},"])
    script = f"import sys; sys.path.insert(0, {str(TEMPLATE)!r}); import main; from harness import app\n"
    script += "assert not {'matplotlib', 'plotly'} & sys.modules.keys()\n"
    script += "app.run(main.build_parser, main.main, ['runs', 'plot', 'one'])\n"
    script += "print(sorted({'torch', 'pytorch_lightning', 'pandas'} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (result.stdout.splitlines(), result.stderr) == (["runs/curves.png", "runs/curves.html", "[]"], "")
