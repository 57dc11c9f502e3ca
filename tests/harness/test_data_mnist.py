"""How MNIST gets here: downloaded once, checked, and never in halves."""

import gzip
import hashlib
import threading
from argparse import ArgumentParser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.harness.program import main

mnist = pytest.importorskip("data.mnist", reason="data/mnist.py is gone")


def make(*argv):
    """Return the data module with its flags."""
    return mnist.MNIST(mnist.MNIST.add_data_specific_args(ArgumentParser(add_help=False)).parse_args(argv))


def check_batches(data):
    data.prepare_data()
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        x, y = next(iter(loader))
        assert (x.dtype, x.shape[1:]) == (torch.float32, (1, 28, 28))
        assert 0 <= x.min() < x.max() <= 1
        assert (y.dtype, y.shape) == (torch.int64, x.shape[:1])


class Mirror(SimpleHTTPRequestHandler):
    """Serves a folder, and remembers what was asked for."""

    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(monkeypatch):
    """A mirror on loopback with small files in MNIST's format, whose checksums the module expects."""
    folder = Path("mirror").resolve()
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, size in zip(mnist.FILES, (120, 120, 30, 30), strict=True):
        shape = (size, 28, 28) if "images" in name else (size,)
        values = random.integers(0, 256 if "images" in name else 10, shape, dtype=np.uint8)
        header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
        (folder / name).write_bytes(gzip.compress(header + values.tobytes()))
    sums = tuple(hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in mnist.FILES)
    monkeypatch.setattr(mnist, "SHA256", {"mnist": sums, "fashion_mnist": sums})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Mirror, directory=str(folder))) as server:
        server.asked = []
        server.folder = folder
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("variant", ["mnist", "fashion_mnist"])
def test_mnist_is_downloaded_once(mirror, variant, capsys):
    flags = ("--data_dir", "cache", "--mirror", mirror.url, "--variant", variant)
    check_batches(make(*flags))
    assert "100%" in capsys.readouterr().err, "no progress bar"
    check_batches(make(*flags))
    assert mirror.asked == [f"/{name}" for name in mnist.FILES]
    assert sorted(path.name for path in Path("cache", variant).iterdir()) == sorted(mnist.FILES)
    assert [len(split[1]) for split in make(*flags).load().values()] == [110, 10, 30]


def test_the_next_mirror_is_asked_when_one_has_nothing(mirror, monkeypatch):
    monkeypatch.setattr(mnist, "MIRRORS", {"mnist": (mirror.url + "/nothing/", mirror.url + "/")})
    check_batches(make("--data_dir", "cache"))


@pytest.mark.parametrize("content", [b"", b"half of a file", b"<html>Log in to the network</html>"])
def test_a_wrong_file_is_refused_and_not_kept(mirror, content):
    (mirror.folder / mnist.FILES[1]).write_bytes(content)
    data = make("--data_dir", "cache", "--mirror", mirror.url)
    with pytest.raises(ConnectionError, match=f"cannot download {mnist.FILES[1]} .*hash.*--mirror"):
        data.prepare_data()
    assert [path.name for path in Path("cache/mnist").iterdir()] == [mnist.FILES[0]]


def test_offline_is_one_line_with_the_remedy_and_leaves_no_half_file():
    data = make("--data_dir", "cache", "--mirror", "http://127.0.0.1:9")  # nobody listens on port 9
    with pytest.raises(ConnectionError) as error:
        data.prepare_data()
    assert "\n" not in str(error.value)
    assert "--data_name digits" in str(error.value)
    assert not list(Path("cache/mnist").iterdir())


def test_help_has_its_flags(capsys):
    with pytest.raises(SystemExit):
        main(["--data_name", "mnist", "--help"])
    assert "--mirror" in capsys.readouterr().out
