import os

import pytest


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    """Every test works in an empty folder, with no Trainer flags set in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PL_")]:
        monkeypatch.delenv(name)
