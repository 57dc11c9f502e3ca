"""What a sweep has found: a page that needs no other file, the same figures as PNG, a table of all trials."""

import csv
import html
import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from harness.cli.words import shell_line
from harness.runs.files import whole_file
from harness.sweeps.optuna.claims import owner_of
from harness.sweeps.optuna.ranking import best, ranked
from harness.sweeps.optuna.records import metric_names, metrics_of, sampling_of, tests_of

PAGE, TABLE, FIGURES = "report.html", "trials.csv", "report"
SHOWN = 10  # trials in the table of the page
HTML = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title><style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: left }
div:has(> table) { overflow-x: auto }
pre { background: #f4f4f4; padding: 1rem; overflow-x: auto } h2 { margin-top: 2.5rem }
</style></head><body>
<h1>$title</h1><p>$summary</p>
$body
</body></html>
""")


def write_report(study: optuna.Study, directory: Path) -> Path:
    """Write report.html, the figures as PNG and trials.csv, and return the page.

    Args:
        study: Optuna's.
        directory: where they go.
    """
    metrics = metric_names(study)
    with whole_file(directory / TABLE) as file:
        file.write(table(study, metrics).encode())
    parts = [best_part(study, metrics), ranking_part(study, metrics)]
    drawn = figures(study, metrics, directory / FIGURES) if ranked(study) else ()
    parts += [f"<h2>{html.escape(title)}</h2>\n{part}" for title, part in drawn]
    title, texts = html.escape(study.study_name), map(html.escape, [summary(study), *sampling_lines(study)])
    page = HTML.substitute(title=title, summary="<br>".join(texts), body="\n".join(parts))
    with whole_file(directory / PAGE) as file:
        file.write(page.encode())
    return directory / PAGE


def summary(study: optuna.Study) -> str:
    """Return how many trials there are of each kind."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    counts = [f"{states.count(state)} {state.name.lower()}" for state in TrialState if state in states]
    return f"{len(states)} trials: {', '.join(counts)}" if states else "no trials yet"


def sampling_lines(study: optuna.Study) -> list[str]:
    """Return a line for the first sampler and pruner, and for each change."""
    changes = sampling_of(study)
    return [
        f"sampler {change['sampler']}, pruner {change['pruner']} from trial {change['trial']} on ({change['at']})"
        for change in changes
    ]


def line_of(trial: FrozenTrial) -> str:
    """Return the command line that repeats the run of a trial; empty for a trial of another program."""
    command = owner_of(trial).get("command")
    return shell_line(command) if command else ""


def error_of(trial: FrozenTrial) -> str:
    """Return the reason for the failure of a trial."""
    return str(trial.user_attrs.get("error", "no reason"))


def table(study: optuna.Study, metrics: tuple[str, ...]) -> str:
    """Return all trials as CSV: number, state, all metrics, values searched, seconds, error, command line."""
    trials, tests = study.get_trials(deepcopy=False), tests_of(study)
    found = [metrics_of(trial, tests) for trial in trials]
    others = other_names(found, metrics)
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    has_lines = any(map(line_of, trials))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["trial", "state", *metrics, *others, *names, "seconds", "error", *["command"] * has_lines])
    for trial, each in zip(trials, found, strict=True):
        values = [repr(value) for value in trial.values or []] or [""] * len(metrics)
        more = [repr(each[name]) if name in each else "" for name in others]
        drawn = [trial.params.get(name, "") for name in names]
        seconds = f"{trial.duration.total_seconds():.1f}" if trial.duration else ""
        error = trial.user_attrs.get("error", "")
        row = [trial.number, trial.state.name.lower(), *values, *more, *drawn, seconds, error]
        writer.writerow([*row, *[line_of(trial)] * has_lines])
    return text.getvalue()


def other_names(found: Iterable[Mapping[str, float]], metrics: Sequence[str]) -> list[str]:
    """Return the names of all metrics of trials except the objectives."""
    return sorted({name for each in found for name in each} - set(metrics))


def best_part(study: optuna.Study, metrics: tuple[str, ...]) -> str:
    """Return the part of the page on the best trials."""
    parts, tests = [], tests_of(study)
    for trial in best(study):
        values = ", ".join(f"{metric} {value:.6g}" for metric, value in zip(metrics, trial.values, strict=True))
        found = {name: value for name, value in metrics_of(trial, tests).items() if name not in metrics}
        parts.append(f"<p>Trial {trial.number}: {html.escape(values)}</p>")
        parts += [html_table([[name, f"{value:.6g}"] for name, value in found.items()])] if found else []
        parts += [f"<pre>{html.escape(line)}</pre>"] if (line := line_of(trial)) else []
    title = "The best trial" if len(metrics) == 1 else "Pareto front"
    return f"<h2>{title}</h2>\n" + ("\n".join(parts) or "<p>No trial is complete.</p>")


def ranking_part(study: optuna.Study, metrics: tuple[str, ...]) -> str:
    """Return the part of the page with the first of the ranking, and what failed."""
    trials, tests = ranked(study)[:SHOWN], tests_of(study)
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    found = {trial.number: metrics_of(trial, tests) for trial in trials}
    others = other_names(found.values(), metrics)
    rows: list[list[Any]] = [["trial", *metrics, *names, *others]]
    for trial in trials:
        drawn = [trial.params.get(name, "") for name in names]
        rows.append([trial.number, *trial.values, *drawn, *(found[trial.number].get(name, "") for name in others)])
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    errors = [f"<li>{trial.number}: {html.escape(error_of(trial))}</li>" for trial in failed]
    return f"{html_table(rows)}<p>All of them: {TABLE}</p>" + (
        f"<h2>Failed</h2><ul>{''.join(errors)}</ul>" if errors else ""
    )


def html_table(rows: Iterable[Sequence[Any]]) -> str:
    """Return a table of the page."""
    texts = [[f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    cells = ["".join(f"<td>{html.escape(text)}</td>" for text in row) for row in texts]
    return f"<div><table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table></div>"


def figures(study: optuna.Study, metrics: tuple[str, ...], folder: Path) -> Iterator[tuple[str, str]]:
    """Yield a title and the HTML of each figure; write the same as PNG into ``folder``."""
    import matplotlib
    import plotly.io
    from optuna import visualization
    from optuna.visualization import matplotlib as pictures

    matplotlib.use("Agg")  # no window
    from matplotlib import pyplot

    library: Any = True  # the first figure brings the script for all
    for title, name, options in plots(study, metrics):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of axes and legends, where there are few trials
                figure = getattr(visualization, f"plot_{name}")(study, **options)
                axes: Any = getattr(pictures, f"plot_{name}")(study, **options)
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            yield title, f"<p>Not yet: {html.escape(str(error))}</p>"
            continue
        yield title, plotly.io.to_html(figure, include_plotlyjs=library, full_html=False, div_id=slug(title))
        library = False
        picture = axes.flat[0].figure if hasattr(axes, "flat") else axes.figure
        picture.set_size_inches(10, 6)
        with whole_file(folder / f"{slug(title)}.png") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names of 1,000 trials along an axis
            picture.savefig(file, format="png", dpi=120, bbox_inches="tight")
        pyplot.close("all")


def slug(title: str) -> str:
    """Return a title as the name of a file."""
    return "".join(sign if sign.isalnum() else "_" for sign in title.lower()).strip("_")


def plots(study: optuna.Study, metrics: tuple[str, ...]) -> Iterator[tuple[str, str, dict[str, Any]]]:
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


def value_of(number: int) -> Callable[[FrozenTrial], float]:
    """Return a function that takes one of several values of a trial."""
    return lambda trial: float(trial.values[number])
