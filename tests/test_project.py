"""A baked project as its user has it: its own checks pass, it installs, its command lines work."""

import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT, TEMPLATE, Project, template_files, tomllib


@pytest.mark.parametrize(
    ("examples", "sweeps", "license_name"),
    [
        (True, "none", "MIT"),
        (False, "both", "Apache-2.0"),
        *(
            pytest.param(examples, sweeps, license_name, marks=pytest.mark.slow)
            for examples, sweeps, license_name in (
                (True, "optuna", "BSD-3-Clause"),
                (False, "hydra", "none"),
                (True, "both", "MIT"),
                (False, "none", "MIT"),
                (False, "optuna", "MIT"),
                (True, "hydra", "MIT"),
            )
        ),
    ],
)
def test_its_lint_types_and_tests_pass(bake, mypy_cache, examples, sweeps, license_name):
    """Every value of each option is in one of the projects; with the slow ones, every pair of examples and sweeps."""
    text = '"Zoë" O\'Brien {{ 1 }} \\ 50 % #1 <b> & 山田 🚀'
    names = {"project_name": text, "description": text, "author_name": text}
    project = bake(example_models=examples, sweeps=sweeps, license=license_name, **names)
    mypy = ["mypy", "--cache-dir", mypy_cache]
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], mypy, ["pytest", "-q"]):
        result = project.python("-m", *command)
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_tests_of_a_project_are_few(bake):
    project = bake(sweeps="both")
    lines = [len(path.read_text().splitlines()) for path in (project.path / "tests").iterdir()]
    assert sum(lines) <= 300


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


def masked(line):
    """Return the words of a line without the time of a run and its age."""
    return re.sub(r"\d+ (s|min)$", "AGE", re.sub(r"\d{4}(-\d\d){2}_\d\d(-\d\d){2}", "TIME", line)).split()


@pytest.mark.parametrize("examples", [True, False])
def test_the_first_output_is_that_of_the_readme(bake, examples, tmp_path):
    """But for times, and numbers, whose last digits depend on the processor."""
    project = bake(example_models=examples)
    (shown,) = re.findall(r"```\n\$ (.*?)```", (project.path / "README.md").read_text(), re.DOTALL)
    for part in shown.split("\n$ "):
        command, *lines = part.strip().splitlines()
        result = project.python(*command.split()[1:], cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        printed = [line for line in result.stdout.splitlines() if not line.startswith("epoch ")]  # no bar here
        for line, other in zip(lines, printed, strict=True):
            for one, two in zip(masked(line), masked(other), strict=True):
                is_number = re.fullmatch(r"\d\.\d+", one)
                assert abs(float(one) - float(two)) < 0.05 if is_number else one == two


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


def pip(python, *words):
    """Run pip of an environment, without the network."""
    command = [python, "-m", "pip", *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture
def environment(tmp_path):
    """The python of a new virtual environment, which also finds the packages that these tests run with."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    packages = subprocess.run([python, "-c", PACKAGES], capture_output=True, text=True, check=True).stdout.strip()
    Path(packages, "outer.pth").write_text(sysconfig.get_path("purelib"))
    return python, Path(packages)


PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"
INSTALL = ("install", "--quiet", "--no-deps", "--no-build-isolation")


EDITABLE = pytest.param(("--editable",), marks=pytest.mark.slow, id="editable")


@pytest.mark.parametrize("how", [pytest.param((), id="wheel"), EDITABLE])
def test_two_projects_in_one_environment_leave_each_other_whole(bake, environment, tmp_path, how):
    """Each is run from its folder; what is installed is their metadata, so nothing can shadow anything."""
    python, packages = environment
    projects = {name: bake(project_slug=f"project-{name}", author_name='"Zoë" 🚀') for name in ("one", "two")}
    files = {name: project.files() for name, project in projects.items()}
    before = {path.name for path in packages.iterdir()}
    for project in projects.values():
        pip(python, *INSTALL, *how, str(project.path))
    assert {path.name for path in packages.iterdir()} - before == {
        f"project_{name}-0.1.0.dist-info" for name in projects
    }
    shown = pip(python, "show", "--files", "project-one")
    assert "Version: 0.1.0" in shown
    assert "Zoë" in shown
    assert "licenses/LICENSE" in shown
    assert not re.search(r"\.(py|npz|pth)\b", shown)

    own = "import sys, main, harness; print(main.__file__, harness.__file__)"
    short = ["--fast_dev_run", "--enable_progress_bar", "no", "--default_root_dir", str(tmp_path / "runs")]
    for name, project in projects.items():
        found = subprocess.run([python, "-c", own], cwd=project.path, capture_output=True, text=True, check=True).stdout
        assert found.split() == [str(project.path / "main.py"), str(project.path / "harness" / "__init__.py")]
        if name == "two":
            pip(python, "uninstall", "--yes", "project-one")
        subprocess.run([python, str(project.path / "main.py"), *short], cwd=tmp_path, capture_output=True, check=True)
        assert project.files() == files[name]


def test_pip_installs_what_it_needs(bake, environment):
    """The requirements are in the metadata: pip looks each of them up."""
    python, _ = environment
    project = bake(project_slug="needs", sweeps="both")
    needed = tomllib.loads((project.path / "pyproject.toml").read_text())["project"]["dependencies"]
    pip(python, *INSTALL, str(project.path))
    script = "from importlib.metadata import requires; print(*requires('needs'), sep='\\n')"
    listed = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
    assert sorted(name_of(line) for line in listed if "extra ==" not in line) == sorted(map(name_of, needed))


def name_of(requirement):
    return re.match(r"[\w.-]+", requirement)[0]


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


def test_the_command_lines_of_its_readme_work(project, tmp_path):
    """Every main.py line of the README, in its order, with a run's name put in and few batches."""
    text = (project.path / "README.md").read_text()
    assert len(text.splitlines()) <= 135
    (block,) = [text for text in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) if "--help " in text]
    (tmp_path / "base.yaml").write_text("max_epochs: 1\n")
    (tmp_path / "fast.yaml").write_text("limit_train_batches: 2\n")
    lines = [shlex.split(line, comments=True)[2:] for line in block.splitlines() if line]
    assert len(lines) >= 18
    name = ""
    for line in lines:
        if "mnist" in line and "--variant" in line:
            continue  # a download
        words = [word.replace("NAME", name) for word in line]
        is_long = words[0] != "runs" and "--config" not in words
        short = ["--limit_train_batches", "2", "--limit_val_batches", "2"] if is_long else []
        result = project.python("main.py", *words, *short, cwd=tmp_path)
        assert result.returncode == 0, f"{words}: {result.stderr}"
        if not name and "run " in result.stdout and "--max_epochs" in words:
            name = result.stdout.split("runs/")[-1].strip()


@pytest.mark.slow
@pytest.mark.parametrize("layers", [12, 24])
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
