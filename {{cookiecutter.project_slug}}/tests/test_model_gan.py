"""The GAN learns, and writes what it makes."""

from pathlib import Path

import pytest
import torch

from main import parse_args
from train import train

pytest.importorskip("models.gan", reason="models/gan.py is gone")
from PIL import Image

from models.gan import GoodGAN, frechet_distance, write_grid

QUIET = ["--enable_progress_bar", "no", "--enable_model_summary", "no"]


def test_gan_writes_samples_and_keeps_its_flags():
    train(parse_args([*QUIET, "--model_name", "gan", "--encoder_layers", "24", "--max_epochs", "2"]), Path("run"))
    assert [path.name for path in sorted(Path("run/samples").iterdir())] == ["epoch=000.png", "epoch=001.png"]
    with Image.open("run/samples/epoch=001.png") as image:
        assert (image.size, image.mode) == ((240, 240), "L")
        assert len(image.histogram()) - image.histogram().count(0) > 10, "the samples show nothing"
    gan = GoodGAN.load_from_checkpoint("run/checkpoints/best.ckpt")
    assert gan.hparams.encoder_layers == 24
    assert gan(torch.randn(3, gan.hparams.latent_dim)).shape == (3, 1, 28, 28)


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_gan_takes_every_precision(precision):
    """What it draws itself must have the type of its weights, which is not always float32."""
    short = ["--limit_train_batches", "2", "--limit_val_batches", "1", "--limit_test_batches", "1", "--max_epochs", "1"]
    metrics = train(parse_args([*QUIET, *short, "--model_name", "gan", "--precision", precision]), Path("run"))
    assert metrics["test_frechet"] > 0


def test_gan_survives_a_batch_of_one():
    """The slope of the standard deviation is infinite where nothing varies: the weights became NaN."""
    short = ["--batch_size", "1", "--limit_train_batches", "2", "--limit_val_batches", "1", "--max_epochs", "1"]
    metrics = train(parse_args([*QUIET, *short, "--limit_test_batches", "1", "--model_name", "gan"]), Path("run"))
    assert all(value == value for value in metrics.values())


def test_frechet_distance_is_that_of_gaussians():
    one, other = torch.rand(2, 500, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(one, one + 0.5) == pytest.approx(64 * 0.25, rel=1e-4)  # moved by 0.5 in 64 pixels
    # Twice the deviation in every pixel: the trace of the covariance grows by (2 - 1)^2 times itself.
    mean = one.mean(0)
    spread = torch.nn.functional.interpolate(one, size=8, mode="area").flatten(1).var(0, unbiased=False).sum()
    assert frechet_distance(one, mean + 2 * (one - mean)) == pytest.approx(spread.item(), rel=1e-4)
    assert 0 < frechet_distance(one, other) < 0.1
    assert frechet_distance(one * float("nan"), other).isnan()


@pytest.mark.parametrize("number", [1, 5, 8, 9, 100])
def test_a_grid_takes_any_number_of_images(number, tmp_path):
    write_grid(torch.rand(number, 1, 28, 28), tmp_path / "samples" / "grid.png")
    with Image.open(tmp_path / "samples" / "grid.png") as image:
        assert image.width == 30 * min(8, number)
