import os

import pytest

# Small nets gain nothing from threads, which slow each other down many times where the cores are busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    """Every test works in an empty folder, with no Trainer flags set in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PL_")]:
        monkeypatch.delenv(name)
