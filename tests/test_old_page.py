"""The code blocks of the old Lightning page, in our own words, run in a baked project.

Each file of tests/old_page is one block; what had to change in it says "slip". docs/old-page.md lists them.
"""

import json

import pytest

from tests.conftest import ROOT

BLOCKS = ROOT / "tests" / "old_page"

# block, its command line, and what is true afterwards
RUNS = [
    (
        "flags",
        "--num_nodes 2 --gpus 8",
        "(args.num_nodes, args.gpus, args.layer_2_dim, args.max_epochs) == (2, 8, 256, None)",
    ),
    ("module", "--layer_1_dim 32", "model.hparams.layer_1_dim == model.layer_1.out_features == 32"),
    ("trainer_flags", "--max_epochs 3", "args.max_epochs == 3 and len(vars(args)) == 39 + 11"),
    (
        "one_flag",
        "--layer_1_dim 128 --layer_2_dim 256 --batch_size 64 --max_epochs 4",
        "trainer.current_epoch == 4 and trainer.callback_metrics == {}",
    ),
    ("all_flags", "--gpus 0 --min_epochs 2 --max_epochs 4 --gradient_clip_val 0.5", "trainer.gradient_clip_val == 0.5"),
    ("modules_with_flags", "", "GoodGAN and LitMNIST"),
    ("choose_model", "--model_name gan --encoder_layers 24 --max_epochs 1", "len(trainer.model.encoder) == 27"),
    (
        "choose_model",
        "--model_name mnist --layer_1_dim 128 --max_epochs 1",
        "trainer.model.layer_1.out_features == 128",
    ),
]

# One process for all: most of the time goes into importing torch.
DRIVER = """
import json, runpy, sys, traceback
sys.path[:0] = [{blocks!r}, {project!r}]
outcomes = []
for block, line, claim in {runs!r}:
    sys.argv = [block + ".py", *line.split()]
    try:
        outcomes.append(bool(eval(claim, runpy.run_path({blocks!r} + "/" + block + ".py", run_name="__main__"))))
    except BaseException:
        outcomes.append(traceback.format_exc())
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def outcomes(project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("old-page")
    script = DRIVER.format(blocks=str(BLOCKS), project=str(project.path), runs=RUNS)
    result = project.python("-c", script, cwd=folder)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("number", range(len(RUNS)), ids=[f"{block} {line}".strip() for block, line, _ in RUNS])
def test_a_block_of_the_old_page_works(outcomes, number):
    assert outcomes[number] is True, outcomes[number]


def test_every_block_is_run():
    assert {path.stem for path in BLOCKS.glob("*.py")} == {block for block, _, _ in RUNS}
