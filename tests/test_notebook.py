"""A baked project in a notebook, run by a kernel of Jupyter."""

import json
import os
import sys

import nbformat

from tests.conftest import run

CELLS = [
    "from main import parse_args\nfrom train import train",
    "args = parse_args(['--max_epochs', '1', '--limit_train_batches', '3', '--model_name', 'my_model'])",
    "metrics = train(args)\nmetrics['test_accuracy']",
    "again = train(args)\nassert again == metrics\nagain",
    "from harness.errors import UsageError\n"
    "try:\n    parse_args(['--max_epoch', '1'])\nexcept UsageError as error:\n    print(error)",
    "from models.my_model import MyModel\nfrom pathlib import Path\n"
    "checkpoint = sorted(Path('runs').glob('*/checkpoints/best.ckpt'))[0]\n"
    "MyModel.load_from_checkpoint(checkpoint).hparams.learning_rate",
]


def test_a_notebook_trains_a_cell_that_runs_twice_makes_two_runs_and_mistakes_are_errors(bake):
    project = bake(project_slug="in-a-notebook")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbformat.write(notebook, project.path / "try.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", "try.ipynb"]
    result = run(command, cwd=project.path, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert result.returncode == 0, result.stderr
    cells = json.loads((project.path / "try.ipynb").read_text())["cells"]
    assert "unknown flag --max_epoch, did you mean --max_epochs" in "".join(cells[4]["outputs"][0]["text"])
    assert "".join(cells[5]["outputs"][-1]["data"]["text/plain"]) == "0.01"
    assert len(list(project.path.glob("runs/*/metrics.json"))) == 2
