"""docs/runs.md of a baked project, followed word for word."""

import json
import re
import shlex


def test_the_page_on_runs_is_true(project, tmp_path):
    text = (project.path / "docs" / "runs.md").read_text()
    printed = {}
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            result = project.python(*shlex.split(line)[1:], cwd=tmp_path)
            assert result.returncode == 0, f"{line}: {result.stderr}"
            printed[line] = result.stdout
    runs = tmp_path / "runs"
    assert {path.name for path in runs.iterdir()} == {"base", "tuned", "seeds", "curves.png", "curves.html"}
    files = {path.name for path in (runs / "base").iterdir()}
    named = set(re.findall(r"^\| `([\w./]+)`", text, re.MULTILINE))
    assert {name.rstrip("/") for name in named} - {"uncommitted.patch", "error.txt"} <= files
    lines = list(printed)
    rows = json.loads(printed[next(line for line in lines if "--json" in line)])
    assert {row["name"] for row in rows} == {"base", "again"}
    assert "learning_rate: 0.01  # command line\n" in printed[next(line for line in lines if "--print_config" in line)]
    listed = printed[next(line for line in lines if "tag=first" in line)]
    assert {line.split()[0] for line in listed.splitlines()[1:]} == {"base", "again", "slow"}
    assert re.search(r"flag +learning_rate +0.\d+ +0.0001\n", printed["python main.py runs diff base slow"])
    assert "notes" in printed["python main.py runs show base"]
    assert (tmp_path / "losses.pdf").read_bytes().startswith(b"%PDF")
    assert "seeds/seed=2" in (tmp_path / "seeds.html").read_text()
    best = printed["python main.py runs best val_loss"].strip()
    assert (tmp_path / best.replace("runs/again", "runs/base")).exists()
