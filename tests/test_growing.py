"""docs/growing.md of a baked project, followed word for word; what is dropped in and what is taken away."""

import json
import re
import shlex

import pytest

FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def follow(project):
    """Do what the page says, in its order; return what each command line printed."""
    printed = {}
    for kind, text in FENCE.findall((project.path / "docs" / "growing.md").read_text()):
        if kind == "python":
            name, content = re.match(r"# (\S+)\n(.*)", text, re.DOTALL).groups()
            (project.path / name).write_text(content)
        elif kind == "bash":
            for line in text.splitlines():
                _, *argv = shlex.split(line, comments=True) if line.startswith("python") else ["", *shlex.split(line)]
                argv = argv if line.startswith("python") else ["-m", *argv]
                printed[line.split("#")[0].strip()] = project.python(*argv)
        else:
            printed["expected"] = text.strip()
    return printed


@pytest.mark.parametrize("sweeps", [pytest.param("none", marks=pytest.mark.slow), "optuna"])
def test_the_page_on_growing_is_true(bake, sweeps):
    project = bake(project_slug="growing", sweeps=sweeps)
    before = {name: (project.path / name).read_bytes() for name in project.files()}
    printed = follow(project)
    expected = printed.pop("expected")
    *good, wrong = printed.items()
    assert len(good) == (18 if sweeps == "none" else 19), good
    for line, result in good:
        assert result.returncode == 0, f"{line}: {result.stdout}{result.stderr}"
    assert wrong[1].returncode == 1
    assert "Traceback" in wrong[1].stderr
    assert wrong[1].stderr.splitlines()[-1] == expected
    trained = printed["python main.py --model_name conv_net --max_epochs 5"].stdout
    assert float(re.search(r"test_accuracy +(\S+)", trained)[1]) > 0.9
    tested = printed["python main.py test --ckpt_path best"].stdout
    assert float(re.search(r"test_accuracy +(\S+)", tested)[1]) > 0.9
    assert "--image_size" in printed["python main.py --model_name conv_net --help"].stdout
    # Two checks of each file, six of the model, three of each data module; the search space of the model.
    passed = "19 passed, 2 skipped" if sweeps == "optuna" else "18 passed"
    assert f" {passed}, " in printed['pytest -k "conv_net or shapes"'].stdout
    (late,) = project.path.glob("runs/*_next_letter")  # its layers are made by configure_model, one of them is lazy
    assert json.loads((late / "run.json").read_text())["parameters"] > 64 * 32
    # No other file was touched.
    assert {name: (project.path / name).read_bytes() for name in before} == before
    new = {name for name in project.files() - before.keys() if not name.startswith((".pytest_cache", "runs", "sweeps"))}
    of_models = {"models/conv_net.py", "models/next_letter.py"}
    assert new == {*of_models, "data/shapes.py", "data/moved_shapes.py", "data/letters.py"}
    assert completed(project, "--model_name conv") == ["conv_net"]
    assert "--channels" in completed(project, "--model_name conv_net --chan")


def completed(project, line):
    """Return the words with which a shell completes a command line of main.py: argcomplete writes them to a file."""
    answer, line = project.path / "answer", f"python main.py {line}"
    asked = {"_ARGCOMPLETE": "2", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_SUPPRESS_SPACE": "1"}
    project.python("main.py", **asked, COMP_LINE=line, COMP_POINT=str(len(line)))
    return [word.strip() for word in answer.read_text().split("\v")]


EXAMPLES = ["models/mnist.py", "models/gan.py", "data/mnist.py"]
STUBS = ["models/my_model.py", "data/my_data.py", "data/digits.py", "data/digits.npz"]


@pytest.mark.slow
@pytest.mark.parametrize("gone", [EXAMPLES, EXAMPLES + STUBS])
def test_removing_the_examples_is_deleting_their_files(bake, mypy_cache, gone):
    project = bake(project_slug="without")
    for kind in ("model", "data"):
        assert project.python("main.py", "new", kind, "mine").returncode == 0
    for name in gone:
        (project.path / name).unlink()
    table = project.run("--model_name", "mine", "--data_name", "mine", "--max_epochs", "2")
    assert float(table["test_accuracy"]) > 0.9
    for command in (["ruff", "check", "."], ["mypy", "--cache-dir", mypy_cache], ["pytest", "-q"]):
        result = project.python("-m", *command)
        assert result.returncode == 0, result.stdout + result.stderr


COMPILED = """
import sys
from pathlib import Path
from main import parse_args
from train import train
from torch._dynamo.utils import counters
metrics = train(parse_args(sys.argv[2:]), Path(sys.argv[1]))
print(counters["stats"]["unique_graphs"], *(f"{value:.6f}" for _, value in sorted(metrics.items())))
"""


def test_compile_compiles_and_changes_no_metric(project, tmp_path):
    script = f"import sys; sys.path.insert(0, {str(project.path)!r})\n{COMPILED}"
    results = []
    for run, extra in (("plain", []), ("compiled", ["--compile"])):
        argv = [run, "--max_epochs", "1", "--enable_progress_bar", "no", "--limit_train_batches", "4", *extra]
        result = project.python("-c", script, *argv, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        results.append([float(word) for word in result.stdout.splitlines()[-1].split()])
    (graphs, *metrics), (compiled_graphs, *compiled_metrics) = results
    assert graphs == 0
    assert compiled_graphs > 0
    assert compiled_metrics == pytest.approx(metrics, abs=1e-3)
    # Its checkpoint is that of any other run.
    table = project.run("--command", "test", "--ckpt_path", "compiled/checkpoints/last.ckpt", cwd=tmp_path)
    assert float(table["test_loss"]) == pytest.approx(metrics[1], abs=1e-3)
