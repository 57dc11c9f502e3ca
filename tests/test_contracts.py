"""The contract tests of a baked project: models of many kinds pass, and pytest reports which promise is broken."""

import re
import shutil
from xml.etree import ElementTree

import pytest

from tests.conftest import ROOT
from tests.harness.test_contracts import SOUND

PUBLIC = ROOT / "tests" / "public"
ALONE = SOUND.replace("return loss", "assert self.trainer.world_size == 1, 'only one process'\n        return loss")


def outcomes(project, *selection):
    """Run the contract tests; return "passed", "skipped: ..." or the report of a failure, by promise and name."""
    report = project.path / "report.xml"
    files = ("tests/test_contracts.py", "tests/test_search_space.py")
    result = project.python("-m", "pytest", "-q", *files, f"--junitxml={report}", *selection)
    assert report.exists(), result.stdout + result.stderr
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        reports = [f"{each.tag}: {each.get('message')}\n{each.text}" for each in case]
        name, check = re.fullmatch(r"\w+\[(?:models|data)/(\w+)-(\w+)\]", case.get("name")).groups()
        found[check, name] = " ".join(reports) or "passed"
    return found


# The slow promises start two processes for each model.
@pytest.mark.parametrize("speed", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_models_of_many_kinds_keep_the_promises(bake, speed):
    project = bake(project_slug="public", sweeps="optuna")
    shutil.copytree(PUBLIC, project.path, dirs_exist_ok=True)
    models, data = ({path.stem for path in (PUBLIC / folder).iterdir()} for folder in ("models", "data"))
    found = outcomes(project, "-m", speed, "-k", " or ".join(models | data))
    if speed == "slow":
        assert {name for check, name in found if check == "two_processes_train_it"} == models
        assert set(found.values()) == {"passed"}
        return
    assert {name for _, name in found} == models | data
    by_hand = {("the_loss_of_one_batch_falls", "adversarial")}
    without_space = {("its_search_space_is_legal", name) for name in models | data if name not in ("vae", "text")}
    others = {key: report for key, report in found.items() if report != "passed" and key not in by_hand | without_space}
    assert not others
    assert all(found[key].startswith("skipped") for key in by_hand | without_space)


@pytest.mark.slow
def test_pytest_reports_a_broken_promise(bake):
    """By the traceback of the model's own error, and under it the promise, the file and where to look."""
    project = bake(project_slug="broken", example_models=False, sweeps="optuna")
    (project.path / "models" / "sound.py").write_text(SOUND)
    (project.path / "models" / "alone.py").write_text(ALONE)
    (project.path / "models" / "wrong.py").write_text(SOUND.replace("28 * 28, self.hparams.width", "300, 16"))
    found = outcomes(project, "-m", "slow or not slow", "-k", "(two_processes or one_batch) and not my_model")
    wrong = found["one_batch_fits", "wrong"]
    assert re.search(r"models/wrong\.py:\d+: in forward.*mat1 and mat2 shapes cannot be multiplied", wrong, re.DOTALL)
    assert re.search(r"models/wrong\.py breaks a promise: one batch fits\.\n.*Look at its steps", wrong, re.DOTALL)
    message = r"models/alone\.py breaks a promise: two processes train it.*only one process.*Look at what depends"
    assert re.search(message, found["two_processes_train_it", "alone"], re.DOTALL)
    assert found["two_processes_train_it", "sound"] == "passed"
    assert "it fits no batch" in found["two_processes_train_it", "wrong"]
