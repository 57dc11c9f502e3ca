# PYTHON_ARGCOMPLETE_OK
"""Train by Hydra: every flag of main.py without its dashes.

    python sweep_hydra.py max_epochs=3 batch_size=32
    python sweep_hydra.py -m model_name=my_model learning_rate=1e-3,1e-2

The defaults are in conf/config.yaml. experiment=NAME takes the flags in conf/experiment/NAME.yaml, or in a run's file.
"""

from harness.found import ROOT  # first: harness checks the version of Python

# isort: split
import hydra
from omegaconf import DictConfig

from harness.sweeps.hydra import app
from harness.sweeps.hydra.configs import register
from main import build_parser

register(build_parser, __doc__)  # each flag is a key of the config


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def launch(config: DictConfig) -> float:
    """Run a job, and return the metric that the model monitors, for sweepers. Yours: change what a job does."""
    from harness.sweeps.hydra.job import run_job
    from train import train  # torch, which --help need not import

    return run_job(config, build_parser, train)


if __name__ == "__main__":
    app.run(launch)
