"""A model is trained, resumed and tested: an example to extend."""

from main import main, parse_args
from train import train

SHORT = ["--enable_progress_bar", "no", "--enable_model_summary", "no", "--limit_train_batches", "2"]


def test_two_batches_are_trained_resumed_and_tested():
    metrics = train(parse_args([*SHORT, "--max_epochs", "1"]))
    assert metrics["train_loss"] > 0
    resumed = main(parse_args(["--ckpt_path", "last", "--max_epochs", "2"]))
    tested = main(parse_args(["test", "--ckpt_path", "best"]))
    assert tested["test_accuracy"] == resumed["test_accuracy"]
