"""``main.py new`` writes a file that works at once, and never over another."""

import shutil
from pathlib import Path

import pytest

from harness import found
from harness.cli.new import class_name
from harness.found import MODELS
from main import parse_args
from tests.harness.program import main
from train import train

PROJECT = found.ROOT
QUICK = ["--fast_dev_run", "--enable_progress_bar", "no", "--enable_model_summary", "no"]


@pytest.fixture
def stubs(root):
    """A project with the stubs alone."""
    for stub in ("models/my_model.py", "data/my_data.py"):
        shutil.copy(PROJECT / stub, root / stub)


def refused(capsys, *argv):
    with pytest.raises(SystemExit) as stop:
        main(["new", *argv])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("name", "class_name"),
    [("conv_net", "ConvNet"), ("v2", "V2"), ("tensor", "TensorModel"), ("none", "NoneModel"), ("a__b_", "AB")],
)
def test_a_model_and_its_data_train_at_once(stubs, capsys, name, class_name):
    main(["new", "model", name])
    assert f"python main.py --model_name {name}\n" in capsys.readouterr().out
    main(["new", "data", name])
    assert f"python main.py --data_name {name}\n" in capsys.readouterr().out
    assert MODELS.load(name).__name__ == class_name
    text = Path("models", f"{name}.py").read_text()
    assert f'add_argument_group("{class_name}")' in text
    assert "my_model" not in text
    assert "my_data" not in Path("data", f"{name}.py").read_text()
    metrics = train(parse_args(["--model_name", name, "--data_name", name, *QUICK]), Path("run"))
    assert "test_accuracy" in metrics


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Conv-Net", "conv_net"),
        ("ResNet50", "res_net50"),
        ("../models/x", "models_x"),
        ("net.py", "net_py"),
        ("_hidden", "hidden"),
        ("class", "my_model_2"),
        ("3d", "my_model_2"),
        ("", "my_model_2"),
        ("日本", "my_model_2"),
        ("a b\nc", "a_b_c"),
        ("x" * 61, "x" * 60),
    ],
)
def test_a_name_that_cannot_be_is_refused(stubs, capsys, name, suggestion):
    assert f"such as {suggestion} (see" in refused(capsys, "model", name)
    assert MODELS.names() == ["my_model"]


@pytest.mark.parametrize("taken", ["taken.py", "taken/__init__.py", "taken/net.py"])
def test_what_is_there_is_left_as_it_is(stubs, capsys, taken):
    path = Path("models", taken)
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    assert "models/ has taken already" in refused(capsys, "model", "taken")
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: kind, name"),
        (["model"], "required: name"),
        (["modle", "net"], "'modle' is not one of model, data; did you mean model?"),
        (["dataset", "mine"], "'dataset' is not one of model, data; did you mean data?"),
        (["net"], "'net' is not one of model, data"),
        (["model", "net", "more"], "unexpected word 'more'"),
        (["model", "net", "--force"], "unknown flag --force"),
    ],
)
def test_a_wrong_line_is_refused(stubs, capsys, argv, message):
    assert message in refused(capsys, *argv)


def test_without_the_stub_there_is_nothing_to_copy(stubs, capsys):
    Path("models/my_model.py").write_text("class Mine: pass")
    assert "models/my_model.py with its class MyModel, which new copies, is missing" in refused(capsys, "model", "net")
    Path("models/my_model.py").unlink()
    assert "models/my_model.py with its class MyModel, which new copies, is missing" in refused(capsys, "model", "net")


def test_help_is_short(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["new", "--help"])
    assert stop.value.code == 0
    assert "new model|data NAME" in capsys.readouterr().out


def test_a_class_has_a_name_of_its_own():
    text = "from torch import Tensor\nclass MyData: pass"
    assert [class_name(name, text, "data") for name in ("tensor", "letters", "true", "my_data")] == [
        "TensorData",
        "Letters",
        "TrueData",
        "MyDataData",
    ]
