"""A baked project as its user has it: its own checks pass, it installs, its command lines work."""

import re
import subprocess
import sys
import venv

import pytest

from benchmarks.project import run_on_terminal
from tests.conftest import ROOT, TEMPLATE, Project, template_files

# Tests of a project that an option brings or changes; the others are run once.
OF_OPTUNA = ["search_space", "sweep_optuna", "sweeps"]
OF_HYDRA = ["completion", "sweep_hydra"]
OF_BOTH = ["contracts", "search_space", *OF_HYDRA]


@pytest.mark.parametrize(
    ("examples", "sweeps", "license_name", "tests"),
    [
        (True, "none", "MIT", []),
        (False, "both", "Apache-2.0", OF_BOTH),
        (False, "optuna", "BSD-3-Clause", OF_OPTUNA),
        (True, "hydra", "none", OF_HYDRA),
        *(
            pytest.param(examples, sweeps, "MIT", [], marks=pytest.mark.slow)
            for examples in (True, False)
            for sweeps in ("none", "optuna", "hydra", "both")
            if (examples, sweeps) != (True, "none")
        ),
    ],
)
def test_its_lint_types_and_tests_pass(bake, examples, sweeps, license_name, tests):
    """Every value is in one of the projects, with the tests that it changes; the slow ones are all pairs, with all."""
    text = '"Zoë" O\'Brien {{ 1 }} \\ 50 % #1 <b> & 山田 🚀'
    names = {"project_name": text, "description": text, "author_name": text}
    project = bake(example_models=examples, sweeps=sweeps, license=license_name, **names)
    files = [f"tests/test_{name}.py" for name in tests]
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["pytest", "-q", *files]):
        result = project.python("-m", *command)
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_python_of_the_readme_runs(project, tmp_path):
    """As cells of a notebook, which are run again."""
    load_a_model, from_python = re.findall(r"```python\n(.*?)```", (project.path / "README.md").read_text(), re.DOTALL)
    begin = f"import sys; sys.path.insert(0, {str(project.path)!r})\n"
    result = project.python("-c", begin + 2 * from_python, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    runs = sorted(path.name for path in tmp_path.glob("runs/*"))
    assert len(runs) == 2
    result = project.python("-c", begin + load_a_model.replace("...", runs[0]), cwd=tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_the_template_itself_is_a_project_that_passes_its_tests():
    template = Project(TEMPLATE)
    result = template.python("-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert result.returncode == 0, result.stdout + result.stderr
    assert template.files() == template_files()


def test_help_lists_every_flag_of_the_trainer_but_those_of_objects(project):
    signature = "import inspect, pytorch_lightning as pl; print(*inspect.signature(pl.Trainer).parameters)"
    parameters = set(project.python("-c", signature).stdout.split())
    listed = project.python("main.py", "--help_all").stdout.split()
    assert {name for name in parameters if f"--{name}" not in listed} == {"callbacks", "plugins"}


def test_pip_installs_it(bake, tmp_path):
    project = bake(project_slug="pip-test", author_name='"Zoë" 🚀', author_email="zoe@example.com")
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--editable", str(project.path)]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    shown = subprocess.run([python, "-m", "pip", "show", "pip-test"], check=True, capture_output=True, text=True).stdout
    assert "Version: 0.1.0" in shown
    assert "Zoë" in shown
    # From another folder: the project's modules are found, and they know where its models are.
    subprocess.run(
        [python, "-c", "import modules; assert 'mnist' in modules.names('models')"], check=True, cwd=tmp_path
    )


def test_a_wheel_holds_what_it_needs(bake, tmp_path):
    project = bake(sweeps="both")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", "."]
    subprocess.run([*command, str(project.path)], check=True, cwd=tmp_path, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    listed = subprocess.run([sys.executable, "-m", "zipfile", "-l", str(wheel)], capture_output=True, text=True).stdout
    for file in (
        "main.py",
        "data/digits.npz",
        "models/gan.py",
        "sweeps/claims.py",
        "conf/config.yaml",
        "dist-info/licenses/LICENSE",
    ):
        assert file in listed


def test_the_default_run_reads_digits_from_any_folder(project, tmp_path):
    table = project.run(cwd=tmp_path)
    assert float(table["test_accuracy"]) >= 0.96
    assert (tmp_path / table["run"] / "checkpoints" / "best.ckpt").exists()
    reload = (
        f"import sys; sys.path.insert(0, {str(project.path)!r})\n"
        "from models.mnist import LitMNIST\n"
        f"model = LitMNIST.load_from_checkpoint({table['run'] + '/checkpoints/best.ckpt'!r})\n"
        "print(dict(model.hparams))"
    )
    result = project.python("-c", reload, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "{'layer_1_dim': 128, 'layer_2_dim': 256, 'learning_rate': 0.003}"


def test_the_config_of_a_run_repeats_it_to_the_last_digit(project, tmp_path):
    flags = (
        "--max_epochs",
        "2",
        "--batch_size",
        "32",
        "--learning_rate",
        "0.002",
        "--seed",
        "5",
        "--gradient_clip_val",
        "1",
    )
    first = project.run(*flags, cwd=tmp_path)
    hostile = {"PL_TRAINER_MAX_EPOCHS": "1", "PL_TRAINER_PRECISION": "bf16-mixed"}
    again = project.run("--config", f"{first['run']}/config.yaml", cwd=tmp_path, **hostile)
    assert again["run"] != first["run"]
    metrics = [(tmp_path / table["run"] / "metrics.csv").read_bytes() for table in (first, again)]
    assert metrics[0] == metrics[1]


def test_the_command_lines_of_its_readme_work(project, tmp_path):
    """Every main.py line of the README, in its order, with a run's name put in and few batches."""
    (block,) = [
        text
        for text in re.findall(r"```bash\n(.*?)```", (project.path / "README.md").read_text(), re.DOTALL)
        if "--help " in text
    ]
    (tmp_path / "base.yaml").write_text("max_epochs: 1\n")
    (tmp_path / "fast.yaml").write_text("limit_train_batches: 2\n")
    lines = [line.split("#")[0].split()[2:] for line in block.splitlines() if line]
    assert len(lines) >= 12
    name = ""
    for line in lines:
        if "mnist" in line and "--variant" in line:
            continue  # a download
        words = [word.replace("NAME", name) for word in line]
        short = ["--limit_train_batches", "2", "--limit_val_batches", "2"] if "--config" not in words else []
        result = project.python("main.py", *words, *short, cwd=tmp_path)
        assert result.returncode == 0, f"{words}: {result.stderr}"
        if not name and "run " in result.stdout and "--max_epochs" in words:
            name = result.stdout.split("runs/")[-1].strip()


def test_a_run_shows_a_progress_bar_on_a_terminal(project, tmp_path):
    shown = run_on_terminal([str(project.path / "main.py"), "--max_epochs", "1"], tmp_path)
    assert re.search(r"Epoch 0.*21/21.*val_accuracy", shown, re.DOTALL)


def test_elsewhere_a_run_shows_a_line_for_each_epoch(project, tmp_path):
    result = project.python("main.py", "--max_epochs", "2", cwd=tmp_path)
    assert result.returncode == 0
    assert "21/21" not in result.stdout + result.stderr
    told = [line for line in result.stdout.splitlines() if line.startswith("epoch ")]
    assert [re.sub(r"[\d.]+(?=,|$)", "N", line) for line in told] == [
        f"epoch {epoch}: train_loss N, val_loss N, val_accuracy N" for epoch in range(2)
    ]


@pytest.mark.parametrize("layers", [12, pytest.param(24, marks=pytest.mark.slow)])
def test_the_gan_cuts_the_frechet_distance_to_a_third(project, tmp_path, layers):
    table = project.run("--model_name", "gan", "--encoder_layers", str(layers), cwd=tmp_path)
    lines = (tmp_path / table["run"] / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("val_frechet")
    distances = [float(line.split(",")[column]) for line in lines[1:] if line.split(",")[column]]
    assert float(table["val_frechet"]) <= distances[0] / 3
    assert len(list((tmp_path / table["run"] / "samples").glob("*.png"))) == 20


@pytest.mark.parametrize(
    "line",
    [
        "--layer_1_dim 128 --layer_2_dim 256 --batch_size 64 --max_epochs 64",
        "--model_name mnist --layer_1_dim 128",
        "--min_epochs 12 --max_epochs 64 --gradient_clip_val 0.5",
        "--model_name gan --encoder_layers 24",
    ],
)
def test_the_command_lines_of_the_old_page_train(project, tmp_path, line):
    """As they stand, but for --limit_train_batches: here they need to work, in test_old_page.py to learn."""
    table = project.run(*line.split(), "--limit_train_batches", "1", "--limit_val_batches", "1", cwd=tmp_path)
    assert any(name.startswith("test_") for name in table)


@pytest.mark.parametrize(
    "line", ["--num_nodes 2 --gpus 8", "--gpus 1 --min_epochs 12 --max_epochs 64 --gradient_clip_val 0.5"]
)
def test_asking_for_gpus_without_any_is_one_line(project, tmp_path, line):
    result = project.python("main.py", *line.split(), cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert result.returncode == 2
    notice = r"--gpus \d is now --accelerator gpu --devices \d\n"
    error = r"main\.py: error: the Trainer refuses the flags: .*gpu.*--accelerator cpu.*\n"
    assert re.fullmatch(notice + error, result.stderr)
    assert not list(tmp_path.glob("runs/*"))


def test_two_processes_share_one_run(project, tmp_path):
    flags = ("--accelerator", "cpu", "--devices", "2", "--strategy", "ddp", "--max_epochs", "3")
    table = project.run(*flags, cwd=tmp_path)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [table["run"].removeprefix("runs/")]
    assert sorted(path.name for path in (tmp_path / table["run"]).rglob("*.ckpt")) == ["best.ckpt", "last.ckpt"]
    assert float(table["test_accuracy"]) > 0.8


@pytest.mark.slow
def test_the_gan_names_the_strategy_it_takes_and_takes_it(project, tmp_path):
    flags = ("--model_name", "gan", "--accelerator", "cpu", "--devices", "2", "--max_epochs", "2", "--strategy")
    refused = project.python("main.py", *flags, "ddp", cwd=tmp_path)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "ddp_find_unused_parameters_true" in refused.stderr
    table = project.run(*flags, "ddp_find_unused_parameters_true", cwd=tmp_path)
    assert "test_frechet" in table


def test_a_model_dropped_in_is_on_the_command_line(bake, tmp_path):
    project = bake(project_slug="drop-in")
    stub = (project.path / "models" / "my_model.py").read_text()
    flag = 'group.add_argument("--depth", type=int, default=3, help="layers")'
    text = stub.replace("# Build your layers here.", "assert self.hparams.depth == 5").replace(
        "# Add your flags here:", flag + "\n        # Add your flags here:"
    )
    (project.path / "models" / "my_net.py").write_text(text)
    table = project.run("--model_name", "my_net", "--depth", "5", "--fast_dev_run", cwd=tmp_path)
    assert "test_accuracy" in table
    assert "--depth" in project.python("main.py", "--model_name", "my_net", "--help").stdout


OWN_DATA = """
import torch
from argparse import ArgumentParser
import pytorch_lightning as pl

class Net(pl.LightningModule):
    def __init__(self, hparams):
        super().__init__()
        self.save_hyperparameters(hparams)
        self.layer = torch.nn.Linear(3, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).square().mean()

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.rand(64, 3), batch_size=self.hparams.batch_size)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())

    @staticmethod
    def add_model_specific_args(parent_parser):
        parser = ArgumentParser(parents=[parent_parser])
        parser.add_argument("--batch_size", type=int, default=32)
        return parser
"""


def test_a_model_in_the_manner_of_the_old_page_brings_its_data(bake, tmp_path):
    """Its own loader and --batch_size, a parser with -h, neither validation nor test: all as on the page."""
    project = bake(project_slug="own-data")
    (project.path / "models" / "net.py").write_text(OWN_DATA)
    table = project.run("--model_name", "net", "--batch_size", "8", "--max_epochs", "2", cwd=tmp_path)
    assert (tmp_path / table["run"] / "hparams.yaml").read_text() == "batch_size: 8\n"
    assert (tmp_path / table["run"] / "checkpoints" / "last.ckpt").exists()
    text = project.python("main.py", "--model_name", "net", "--help").stdout
    assert text.count("--batch_size") == 1
    assert "--num_workers" not in text


def test_without_the_examples_the_stub_trains(bake, tmp_path):
    table = bake(example_models=False).run("--max_epochs", "5", cwd=tmp_path)
    assert float(table["test_accuracy"]) > 0.9


def test_without_lightning_the_remedy_is_one_line(project):
    for argv in (["--help"], [], ["--completion", "bash"]):
        result = project.python("-S", "main.py", *argv)  # without what is installed
        assert (result.returncode, len(result.stderr.splitlines())) == (1, 1), result.stderr
        assert "pip install -e ." in result.stderr


def test_offline_mnist_is_one_line(project, tmp_path):
    nowhere = ("--mirror", "http://127.0.0.1:9", "--data_dir", str(tmp_path / "cache"))
    result = project.python("main.py", "--data_name", "mnist", *nowhere, cwd=tmp_path)
    assert result.returncode == 1
    errors = [line for line in result.stderr.splitlines() if "error" in line]
    assert len(errors) == 1
    assert errors[0].startswith("main.py: error: cannot download")
    assert "Traceback" not in result.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_help_is_fifteen_times_faster_than_that_of_lightning_cli(tmp_path):
    command = [sys.executable, "benchmarks/command_line.py", "--rounds", "3", "--report", str(tmp_path / "report.md")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
