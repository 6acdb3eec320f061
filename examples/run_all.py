"""Fit every request in `examples/requests/` and draw the article's figures into `examples/output/`.

    python -m examples.run_all                  the article's full procedure: a minute or two
    python -m examples.run_all --quick          100 steps of Adam, then L-BFGS-B: for a slow engine
    python -m examples.run_all --only lorenz

Finished fits are not run again, and interrupted fits continue from their checkpoint. Delete the output to start
afresh. The fits run in this process, with `odelib.fit`; `odefit submit FILE` sends a request to a service instead.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples.article import DEFAULT_TIME_LIMIT_SECONDS, REQUESTS, article_problems
from odelib.errors import OdelibError
from odelib.fitting import fit
from odelib.monitor import Checkpoint, Monitor
from odelib.plots.figures import plot_result, plot_trajectories, save
from odelib.plots.time_series import Curve
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.request import FitProblem
from odelib.result import FitResult
from odelib.simulation.simulated_data import run_simulation

OUTPUT = Path(__file__).parent / "output"
QUICK_ADAM_STEPS = 100
LOOK_SECONDS = 0.5

Request = dict[str, Any]


def load_request(path: Path, *, quick: bool) -> Request:
    """Return a request as committed, or with few steps of Adam."""
    request: Request = json.loads(path.read_text("utf-8"))
    if quick:
        for stage in request.get("stages", []):
            if stage["kind"] == "adam":
                stage["steps"] = QUICK_ADAM_STEPS
        request["time_limit_seconds"] = DEFAULT_TIME_LIMIT_SECONDS
    return request


def result_of(name: str, request: Request, output: Path, tell: Callable[[Monitor], None]) -> FitResult:
    """Return the result of a request: the saved one, or that of a fit, continued from a checkpoint if possible."""
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:12]
    finished, unfinished = output / f"{name}.{digest}.result.json", output / f"{name}.{digest}.checkpoint.json"
    if finished.exists():
        return FitResult.model_validate_json(finished.read_bytes())
    resume = Checkpoint.from_json(unfinished.read_bytes()) if unfinished.exists() else None
    monitor = Monitor()
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(monitor, ended, unfinished, tell), daemon=True)
    watcher.start()
    try:
        result = fit(FitProblem.model_validate(request), monitor=monitor, resume=resume)
    finally:
        ended.set()
        watcher.join()
    _write(finished, result.to_json())
    unfinished.unlink(missing_ok=True)
    return result


def _watch(monitor: Monitor, ended: threading.Event, checkpoint: Path, tell: Callable[[Monitor], None]) -> None:
    kept = None
    while not ended.wait(LOOK_SECONDS):
        tell(monitor)
        if monitor.checkpoint is not None and monitor.checkpoint is not kept:
            kept = monitor.checkpoint
            _write(checkpoint, kept.to_json())


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)  # complete or not at all, even if the process is interrupted


def draw_orbits(name: str, output: Path) -> Path | None:
    """Draw the article's demonstration, the system from several starts; return None if the article has none."""
    problem = article_problems().get(name, {})
    starts = problem.get("demonstration_initial_states", [])
    if not starts:
        return None
    curves = [_orbit(name, problem, start) for start in starts]
    path = output / f"{name}-orbits.png"
    save(plot_trajectories(CATALOGUE[name], curves, subtitle="at the true parameters, from several starts"), path)
    return path


def _orbit(name: str, problem: Any, start: dict[str, float]) -> Curve:
    ends = [float(problem["times"]["start"]), float(problem["validation"]["until"])]
    request = {"system": name, "parameters": problem["truth"]["parameters"], "initial_state": start, "times": ends}
    dense = run_simulation(request).dense
    label = ", ".join(f"{k} = {v:.3g}" for k, v in start.items())
    return Curve(label, dense.times, dense.states, dense.values)


def compare(name: str, result: FitResult) -> Table:
    """Return a table of the fitted values, the true ones and those published in the article."""
    problem = article_problems().get(name, {})
    truth = _values(problem.get("truth", {}))
    published = _values(problem.get("published", {})) or problem.get("reference", {}).get("optimum", {})
    table = Table("unknown", "fitted", "truth", "article", title=f"{name}: loss {result.loss:.6g}")
    for unknown, estimate in {**result.parameters, **result.initial_state}.items():
        known = [f"{column[unknown]:.6g}" if unknown in column else "" for column in (truth, published)]
        table.add_row(unknown, f"{estimate.value:.6g}", *known)
    return table


def _values(source: Any) -> dict[str, float]:
    return {**source.get("parameters", {}), **source.get("initial_state", {})}


def run(name: str, output: Path, console: Console, *, quick: bool) -> bool:
    """Fit and plot one example; return whether it converged."""
    request = load_request(REQUESTS / f"{name}.json", quick=quick)
    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeElapsedColumn()]
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=1.0, state="")
        result = result_of(name, request, output, lambda monitor: _show(bar, task, monitor))
    picture = output / f"{name}.png"
    save(plot_result(request, result), picture)
    console.print(compare(name, result))
    for prediction in result.predictions or []:
        rmse = ", ".join(f"{observable} {value:.3g}" for observable, value in (prediction.rmse or {}).items())
        why = prediction.error.detail if prediction.error else f"root mean square error {rmse}"
        console.print(f"prediction {prediction.name!r}: {why}")
    for picture_path in filter(None, [picture, draw_orbits(name, output)]):
        console.print(f"plot: {picture_path}", soft_wrap=True)
    console.print(f"{result.outcome.code}: {result.outcome.message}\n")
    return result.outcome.code == "converged"


def _show(bar: Progress, task: TaskID, monitor: Monitor) -> None:
    if now := monitor.progress:
        state = f"{now.stage} {now.step}/{now.steps}, loss {now.loss:.5g}"
        bar.update(task, completed=now.fraction, state=state)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the requested examples; return 0 if all converged, otherwise 1."""
    names = sorted(path.stem for path in REQUESTS.glob("*.json"))
    parser = argparse.ArgumentParser(prog="examples.run_all", description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="100 steps of Adam instead of the article's thousands")
    parser.add_argument("--only", action="append", choices=names, help="run only this example; may be repeated")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for results and plots")
    asked = parser.parse_args(arguments)
    asked.output.mkdir(parents=True, exist_ok=True)
    console, converged = Console(), []
    for name in asked.only or names:
        try:
            converged.append(run(name, asked.output, console, quick=asked.quick))
        except OdelibError as error:
            console.print(f"{name} failed. {error}", style="red")
            converged.append(False)
        except KeyboardInterrupt:
            console.print("interrupted; run the same command again to continue from here")
            return 130
    return 0 if all(converged) else 1


if __name__ == "__main__":
    sys.exit(main())
