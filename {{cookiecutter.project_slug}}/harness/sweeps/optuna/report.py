"""The report of a sweep: a page that needs no other file, and a table of all trials."""

import html
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from harness.files import whole_file
from harness.pages import html_table, link, page
from harness.runs.run import ERROR_FILE
from harness.sweeps.optuna.best import best, ranked
from harness.sweeps.optuna.records import best_checkpoint, metric_names, owner_of, row_of, sampling_of, tests_of
from harness.sweeps.results import Row, as_csv, names, other_names

PAGE, TABLE = "report.html", "trials.csv"
SHOWN = 20  # trials in the table of the page
FEW = 20  # epochs, each of which has a mark on an axis


def write_report(study: optuna.Study, directory: Path) -> Path:
    """Write report.html and trials.csv, and return the page.

    Args:
        study: the study.
        directory: the directory of the files.
    """
    metrics, tests = metric_names(study), tests_of(study)
    rows = {trial.number: row_of(trial, metrics, tests) for trial in study.get_trials(deepcopy=False)}
    with whole_file(directory / TABLE) as file:
        file.write(as_csv(list(rows.values()), "trial").encode())
    parts = [
        html_table([["", ""], *facts(study, metrics)]),
        best_part([rows[trial.number] for trial in best(study)], metrics, directory),
        ranking_part([rows[trial.number] for trial in ranked(study)[:SHOWN]], directory),
        failed_part([row for row in rows.values() if row.error], directory),
    ]
    drawn = figures(study, metrics) if ranked(study) else ()
    parts += [f"<h2>{html.escape(title)}</h2>\n{part}" for title, part in drawn]
    with whole_file(directory / PAGE) as file:
        file.write(page(study.study_name, parts))
    return directory / PAGE


def summary(study: optuna.Study) -> str:
    """Return the number of trials in each state."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    counts = [f"{states.count(state)} {state.name.lower()}" for state in TrialState if state in states]
    return f"{len(states)} trials: {', '.join(counts)}" if states else "no trials yet"


def sampling_lines(study: optuna.Study) -> list[str]:
    """Return a line for the first sampler and pruner, and for each change."""
    return [
        f"sampler {change['sampler']}, pruner {change['pruner']} from trial {change['trial']} on ({change['at']})"
        for change in sampling_of(study)
    ]


def facts(study: optuna.Study, metrics: Sequence[str]) -> list[list[str]]:
    """Return names and values of facts about a study."""
    goals = [f"{way.name.lower()} {metric}" for way, metric in zip(study.directions, metrics, strict=True)]
    trials = study.get_trials(deepcopy=False)
    starts = [trial.datetime_start for trial in trials if trial.datetime_start]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    times = [trial.duration for trial in trials if trial.duration]
    found = [["goal", ", ".join(goals)], ["trials", summary(study)]]
    found += [["method", line] for line in sampling_lines(study)]
    if starts:
        found.append(["first start", f"{min(starts):%Y-%m-%d %H:%M:%S}"])
    if ends:
        total = sum(times, timedelta())
        found.append(["last end", f"{max(ends):%Y-%m-%d %H:%M:%S}"])
        found.append(["time", f"{clock(max(ends) - min(starts))}, of all trials together {clock(total)}"])
    return found


def clock(time: timedelta) -> str:
    """Return a duration in whole seconds, such as 1:02:03."""
    return str(timedelta(seconds=round(time.total_seconds())))


def best_part(rows: Sequence[Row], metrics: Sequence[str], directory: Path) -> str:
    """Return the part of the page on the best trials."""
    parts = []
    for row in rows:
        values = ", ".join(f"{metric} {value:.6g}" for metric, value in row.objectives.items())
        parts.append(f"<p>Trial {row.name}: {html.escape(values)}</p>")
        facts: list[list[Any]] = [[name, value] for name, value in {**row.metrics, **row.drawn}.items()]
        if checkpoint := best_checkpoint(row):
            facts.append(["best checkpoint", link(str(checkpoint), checkpoint, directory)])
        parts.append(html_table([["", ""], *facts]))
        if row.command:
            parts.append(f"<p>This repeats it:</p><pre>{html.escape(row.command)}</pre>")
    title = "The best trial" if len(metrics) == 1 else "Pareto front"
    return f"<h2>{title}</h2>\n" + ("\n".join(parts) or "<p>No trial is complete.</p>")


def ranking_part(rows: Sequence[Row], directory: Path) -> str:
    """Return the part of the page with the best trials as a table."""
    objectives, drawn, others = names(rows, "objectives"), names(rows, "drawn"), other_names(rows)
    table: list[list[Any]] = [["trial", *objectives, *drawn, *others, "run"]]
    for row in rows:
        values = [row.objectives.get(name, "") for name in objectives]
        values += [row.drawn.get(name, "") for name in drawn] + [row.metrics.get(name, "") for name in others]
        run = link("open", row.run_dir, directory) if row.run_dir else ""
        table.append([row.name, *values, run])
    title = "Ranking" if len(rows) < SHOWN else f"The first {SHOWN}"
    return f'<h2>{title}</h2>{html_table(table)}<p>All trials: <a href="{TABLE}">{TABLE}</a></p>'


def failed_part(rows: Sequence[Row], directory: Path) -> str:
    """Return the part of the page on failed trials; nothing if there are none."""
    items = [
        [row.name, row.error, link(ERROR_FILE, row.run_dir / ERROR_FILE, directory)] for row in rows if row.run_dir
    ]
    return f"<h2>Failed</h2>{html_table([['trial', 'error', 'file'], *items])}" if rows else ""


def figures(study: optuna.Study, metrics: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield a title and the HTML of each figure; its toolbar saves it as PNG."""
    import plotly.io
    from optuna import visualization

    library: Any = True  # the first figure brings the script for all
    for title, name, options in plots(study, metrics):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of axes and legends, where there are few trials
                figure = getattr(visualization, f"plot_{name}")(study, **options)
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            yield title, f"<p>Not yet: {html.escape(str(error))}</p>"
            continue
        if name == "intermediate_values":
            name_axes(figure, metrics[0], study)
        figure.update_layout(title=None, width=None)  # the width of the page
        saved = {"toImageButtonOptions": {"filename": slug(title), "scale": 2}}
        yield title, plotly.io.to_html(figure, saved, include_plotlyjs=library, full_html=False, div_id=slug(title))
        library = False


def name_axes(figure: Any, metric: str, study: optuna.Study) -> None:
    """Let the figure of intermediate values have epochs on the x axis, and the metric on the y axis."""
    epochs = {f"Trial{trial.number}": epochs_of(trial) for trial in study.get_trials(deepcopy=False)}
    for line in figure.data:
        line.x = epochs.get(line.name, line.x)
    most = max((each[-1] for each in epochs.values() if each), default=1)
    figure.update_layout(xaxis_title="epoch", yaxis_title=metric)
    figure.update_xaxes(tickformat="d", **({"dtick": 1} if most <= FEW else {}))


def epochs_of(trial: FrozenTrial) -> list[float]:
    """Return the epoch of each report of a trial: with several in an epoch, these are no whole ones."""
    steps = sorted(trial.intermediate_values)
    epochs = owner_of(trial).get("epochs") or len(steps)
    return [(number + 1) * epochs / len(steps) for number in range(len(steps))]


def slug(title: str) -> str:
    """Return a title as the name of a file."""
    return "".join(sign if sign.isalnum() else "_" for sign in title.lower()).strip("_")


def plots(study: optuna.Study, metrics: Sequence[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the title of each figure, Optuna's name for it, and its options."""
    if len(metrics) > 1:
        yield "Pareto front", "pareto_front", {"target_names": list(metrics)}
    else:
        yield "Intermediate values", "intermediate_values", {}
    for number, metric in enumerate(metrics):
        target = None if len(metrics) == 1 else value_of(number)
        of_metric = "" if len(metrics) == 1 else f" of {metric}"
        options = {"target": target, "target_name": metric}
        yield f"History{of_metric}", "optimization_history", options
        yield f"Importances{of_metric}", "param_importances", options
        yield f"Parallel coordinates{of_metric}", "parallel_coordinate", options
        yield f"Slices{of_metric}", "slice", options
    yield "Timeline", "timeline", {}


def value_of(number: int) -> Callable[[FrozenTrial], float]:
    """Return a function that takes one of several values of a trial."""
    return lambda trial: float(trial.values[number])
