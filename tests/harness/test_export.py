"""export: the model of a checkpoint as ONNX or as a program of torch.export, run and compared."""

import importlib.util
from pathlib import Path

import onnxruntime
import pytest
import torch
import yaml

from main import parse_args
from models.my_model import MyModel
from tests.harness.program import main, refused
from train import train

QUIET = ["--enable_progress_bar", "no"]
LIMITS = ["--limit_train_batches", "2", "--limit_val_batches", "1", "--limit_test_batches", "1"]
SHORT = [*QUIET, *LIMITS, "--enable_model_summary", "no", "--max_epochs", "1"]
BEST = "run/checkpoints/best.ckpt"


def exported(capsys, *argv):
    """Export, and return the table."""
    capsys.readouterr()
    main(["export", *argv, *QUIET])
    return dict(line.split() for line in capsys.readouterr().out.splitlines())


def run_onnx(file, **inputs):
    """Return the outputs of an ONNX file by name."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    values = session.run(names, {name: tensor.numpy() for name, tensor in inputs.items()})
    return dict(zip(names, map(torch.from_numpy, values), strict=True))


def run_pt2(file, *inputs):
    return torch.export.load(file).module()(*inputs)


def files(folder):
    return {path.name for path in Path(folder).iterdir()}


def test_onnx_gives_the_outputs_of_the_checkpoint(capsys):
    train(parse_args([*SHORT, "--model_name", "my_model", "--learning_rate", "0.1"]), Path("runs/first"))
    table = exported(capsys, "--ckpt_path", "best", "--to", "onnx")
    assert table["exported"] == f"{table['run']}/model.onnx"
    assert table["run"].endswith("_my_model_export")
    assert 0 <= float(table["largest_difference"]) < 1e-4
    model = MyModel.load_from_checkpoint("runs/first/checkpoints/best.ckpt").eval()
    for rows in (1, 7):
        x = torch.rand(rows, 1, 28, 28)
        (output,) = run_onnx(table["exported"], x=x).values()
        assert torch.allclose(output, model(x), atol=1e-4)
    expected = {".lock", "config.yaml", "config.schema.json", "hparams.yaml", "model.onnx", "run.json"}
    assert files(table["run"]) - {"uncommitted.patch"} == expected
    config = yaml.safe_load(Path(table["run"], "config.yaml").read_text())
    assert (config["command"], config["to"], config["learning_rate"]) == ("export", "onnx", 0.1)


def test_a_program_has_the_averaged_weights_that_a_test_uses(capsys):
    train(parse_args([*SHORT, "--model_name", "my_model", "--ema_decay", "0.5"]), Path("run"))
    table = exported(capsys, "--ckpt_path", BEST, "--output", "deep/er/net.pt2")
    assert table["exported"] == "deep/er/net.pt2"
    assert files("deep/er") == {"net.pt2"}
    content = torch.load(BEST, weights_only=True)
    assert not torch.equal(content["state_dict"]["layer.bias"], content["current_model_state"]["layer.bias"])
    zeros = torch.zeros(3, 1, 28, 28)
    assert torch.allclose(run_pt2("deep/er/net.pt2", zeros), content["state_dict"]["layer.bias"].expand(3, 10))


def test_the_generator_is_exported_without_data(capsys, monkeypatch):
    monkeypatch.setattr("harness.data.InMemoryData.setup", None)
    table = exported(capsys, "--ckpt_path", "none", "--model_name", "gan", "--encoder_layers", "1", "--to", "pt2")
    assert run_pt2(table["exported"], torch.zeros(5, 32)).shape == (5, 1, 28, 28)


START = """
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader


class Net(pl.LightningModule):
    def __init__(self, width: int = 3):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(width, width)
        if EXAMPLE is not None:
            self.example_input_array = EXAMPLE

    def training_step(self, batch, batch_idx):
        return self.layer(next(self.parameters())).sum()

    def train_dataloader(self):
        return DataLoader([SAMPLE] * 6, 4)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())

"""


@pytest.fixture
def written(root):
    """Return a function that writes models/net.py."""

    def write(forward, sample="torch.ones(3)", example="None"):
        text = START.replace("EXAMPLE", example).replace("SAMPLE", sample)
        body = forward.replace("\n", "\n    ")
        (root / "models" / "net.py").write_text(f"{text}    {body}\n")
        (root / "data" / "some.py").write_text("")

    return write


NET = ["--ckpt_path", "none", "--model_name", "net", "--to", "pt2"]
FORWARD = "def forward(self, x): return self.layer(x)"
FORWARD_2 = "def forward(self, x, scale, shift=0.0): return self.layer(x) * scale + shift"
X = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("forward", "sample", "example", "args", "kwargs"),
    [
        (FORWARD, "torch.ones(3)", "None", (X,), {}),
        (FORWARD, "(torch.ones(3), 1)", "None", (X,), {}),
        (FORWARD_2, "(torch.ones(3), torch.ones(1), 5)", "None", (X, X[:, :1]), {}),
        (FORWARD_2, "{'x': torch.ones(3), 'scale': 1.0, 'y': 2}", "None", (), {"x": X, "scale": X[:, :1]}),
        (FORWARD_2, "({'x': torch.ones(3), 'scale': torch.ones(3)}, 1)", "None", (), {"x": X, "scale": X}),
        ("def forward(self, batch): return self.layer(batch['v'])", "{'v': torch.ones(3)}", "None", ({"v": X},), {}),
        (FORWARD, "'text'", "torch.ones(1, 3)", (X,), {}),
        (FORWARD_2, "'text'", "(torch.ones(4, 3), torch.ones(3))", (X, X[0]), {}),
        (FORWARD_2, "'text'", "{'x': torch.ones(4, 3), 'scale': torch.ones(4, 1)}", (), {"x": X, "scale": X[:, :1]}),
    ],
)
def test_inputs_come_from_a_batch_or_an_example(written, forward, sample, example, args, kwargs, capsys):
    sample = sample.replace("'scale': 1.0", "'scale': torch.ones(1)")
    written(forward, sample, example)
    table = exported(capsys, *NET)
    program = torch.export.load(table["exported"])
    weight, bias = program.state_dict["layer.weight"], program.state_dict["layer.bias"]
    assert torch.allclose(program.module()(*args, **kwargs), X @ weight.T + bias)


def test_outputs_of_onnx_are_named(written, capsys):
    written("def forward(self, x): return {'linear': self.layer(x), 'x': x + 1, 'top': x.argmax(1)}")
    table = exported(capsys, *NET[:-1], "onnx")
    outputs = run_onnx(table["exported"], x=X)
    assert {name: list(output.shape) for name, output in outputs.items()} == {
        **{"linear_output": [2, 3], "x_output": [2, 3]},
        "top": [2],
    }


def test_large_weights_are_in_a_file_beside(written, monkeypatch, capsys):
    monkeypatch.setattr("torch.onnx._internal.exporter._onnx_program._LARGE_MODEL_THRESHOLD", 10)
    written(FORWARD)
    exported(capsys, *NET[:-1], "onnx", "--output", "out/net.onnx", "--width", "3")
    assert files("out") == {"net.onnx", "net.onnx.data"}
    assert run_onnx("out/net.onnx", x=X)["output"].shape == (2, 3)
    Path("out/net.onnx").unlink()
    with pytest.raises(SystemExit):
        main(["export", *NET[:-1], "onnx", "--output", "out/net.onnx"])
    assert "--output: out/net.onnx.data exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        ("def forward(self, x): return x if x.sum() > 0 else -x", "let no Python statement depend on the values"),
        (
            "def forward(self, x): return self.layer(x.reshape(4, 3))",
            "let it take the size of the batch",
        ),
        ("def forward(self, x): return self.layer(x) + torch.rand(1)", "forward draws random numbers"),
        ("def forward(self, x): return x + int(torch.compiler.is_exporting())", "for a batch of 4 the exported model"),
    ],
)
def test_a_model_that_cannot_be_exported_leaves_no_file(written, forward, message, capsys):
    written(forward)
    with pytest.raises(SystemExit) as stop:
        main(["export", *NET, "--output", "out/net.pt2", *QUIET])
    assert stop.value.code.startswith("main.py: error: models/net.py: for")
    assert message in stop.value.code
    assert not files("out")
    printed = capsys.readouterr().err
    assert ("Traceback" in printed) == ("cannot be exported" in stop.value.code)
    assert "arg0_1" not in printed


def test_an_operation_that_onnx_does_not_have_is_named(written, capsys):
    written("def forward(self, x): return torch.nn.functional.adaptive_max_pool1d(x[:, None], 2)")
    with pytest.raises(SystemExit) as stop:
        main(["export", *NET[:-1], "onnx", *QUIET])
    assert "forward cannot be exported to onnx: DispatchError: No ONNX function found for" in stop.value.code
    assert "adaptive_max_pool" in stop.value.code


@pytest.mark.parametrize(
    ("forward", "sample", "message"),
    [
        ("", "torch.ones(3)", "models/net.py has no forward, which export needs"),
        (
            FORWARD,
            "torch.ones(4)",
            "does not take the first elements of a batch, [float32 [4, 4]]: RuntimeError",
        ),
        (FORWARD, "{'v': torch.ones(3)}", "[{v: float32 [4, 3]}]: TypeError"),
        (FORWARD, "'text'", "the first elements of a batch have no rows to export forward with"),
    ],
)
def test_an_input_that_is_not_found_is_asked_for(written, forward, sample, message, capsys):
    written(forward, sample)
    line = refused(capsys, "export", *NET, *QUIET)
    assert message in line
    assert ("set self.example_input_array in __init__ to an input of forward" in line) == bool(forward)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["export", "--to", "onnx"], "export needs a checkpoint"),
        (["export", "--ckpt_path", "none"], "export needs a format: add --to onnx or --to pt2"),
        (["export", "--ckpt_path", "none", "--to", "tflite"], "'tflite' is not one of onnx, pt2"),
        (["export", "--ckpt_path", "none", "--output", "net.pth"], "'net.pth' does not end in .onnx or .pt2"),
        (["export", "--ckpt_path", "none", "--to", "onnx", "--output", "a.pt2"], "let it end in .onnx"),
        (["export", "--ckpt_path", "none", "--output", "mine.pt2"], "mine.pt2 exists already"),
        (["export", "--ckpt_path", "none", "--to", "pt2", "--compile"], "add --compile no"),
        (["export", "--ckpt_path", "none", "--to", "pt2", "--precision", "bf16-true"], "add --precision 32"),
        (["export", "--ckpt_path", "none", "--to", "pt2", "--devices", "2"], "export writes one file from one process"),
        (["--to", "onnx"], "--to is a flag of export"),
        (["predict", "--ckpt_path", "none", "--output", "a.onnx"], "--output is a flag of export"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_flags_of_export_are_refused(argv, message, capsys):
    Path("mine.pt2").write_text("mine")
    assert message in refused(capsys, *argv, "--model_name", "my_model", "--accelerator", "cpu", *QUIET)


def test_a_package_that_is_not_installed_is_named(monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "harness.cli.export_flags.find_spec", lambda name: None if name == "onnxscript" else found(name)
    )
    line = refused(capsys, "export", "--ckpt_path", "none", "--to", "onnx", *QUIET)
    assert '--to onnx: onnxscript is not installed: pip install -e ".[export]"' in line
    assert parse_args(["export", "--ckpt_path", "none", "--to", "pt2"]).to == "pt2"


def test_what_a_kill_has_left_is_removed(written, capsys):
    part = Path("runs/net/.model.pt2.1.part")
    part.mkdir(parents=True)
    (part / "model.pt2").write_text("half")
    written(FORWARD)
    exported(capsys, *NET, "--run_name", "net")
    assert "model.pt2" in files("runs/net")
    assert not part.exists()
