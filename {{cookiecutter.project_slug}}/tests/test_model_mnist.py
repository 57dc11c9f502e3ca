"""The classifier of the old Lightning page reads digits, and has the layers that it is told."""

from pathlib import Path

import pytest

from main import parse_args
from train import train

pytest.importorskip("models.mnist", reason="models/mnist.py is gone")
from models.mnist import LitMNIST

QUIET = ["--model_name", "mnist", "--enable_progress_bar", "no", "--enable_model_summary", "no"]


def test_mnist_reads_digits():
    metrics = train(parse_args(QUIET), Path("run"))
    assert metrics["test_accuracy"] >= 0.96


def test_mnist_has_the_layers_that_its_flags_say():
    args = parse_args(["--model_name", "mnist", "--layer_1_dim", "30", "--layer_2_dim", "20", "--learning_rate", "0.5"])
    shapes = [tuple(layer.weight.shape) for layer in LitMNIST(args).children()]
    assert shapes == [(30, 784), (20, 30), (10, 20)]
