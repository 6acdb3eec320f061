"""Data from where they live: `fit` and `submit` with a table and options, and `init`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from odelib.problem.catalogue import CATALOGUE
from odelib.problem.request import parse_problem
from service.cli.request.csv_table import read_table
from tests.end_to_end.conftest import Stack
from tests.end_to_end.test_contract_commands import run, table, written
from tests.service.requests import DECAY, REMOVED, changed

MODEL = {"states": ["c"], "parameters": ["k"], "equations": {"c": "-k*c"}, "observables": {"c": "c", "signal": "3*c"}}
TABLE = "time,c,signal\n0,8,24\n1,4,\n2,2,6\n3,,3\n"  # halves in each unit of time


def test_a_table_and_options_are_a_fit(tmp_path: Path) -> None:
    model, data = written(tmp_path, MODEL, "model.json"), written(tmp_path, TABLE, "data.csv")
    out = tmp_path / "result.json"

    status, printed, _ = run(
        "fit", "--system", model, "--data", data, "--guess", "k=0.5", "--lower", "k=0", "--initial", "c=8",
        "--fix", "c", "--uncertainty", "covariance", "--out", out,
    )  # fmt: skip

    assert status == 0
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["parameters"]["k"]["value"] == pytest.approx(0.693147, rel=1e-4)
    assert result["observations"] == 6
    rows = table(printed)
    assert rows["k"][0] == "0.693147"
    assert rows["k"][-3:] == ["0.5", "0", "…"]
    assert rows["c(0)"] == ["8", "8", "fixed"]
    assert rows["observations"] == ["6"]


@pytest.mark.parametrize("name", ["fit", "submit"])
def test_a_table_goes_into_a_request(tmp_path: Path, stack: Stack, name: str) -> None:
    """Other measurements, the same request: what the file says of its series stays."""
    request = written(tmp_path, changed(DECAY, "/data/sigma/seen", 0.25, "/uncertainty", "covariance"))
    data, out = written(tmp_path, "time,seen\n0,4\n1,2\n2,\n3,0.5\n", "data.csv"), tmp_path / "result.json"
    options = ["--url", stack.url] if name == "submit" else []

    status, printed, _ = run(name, request, "--data", data, "--guess", "k=0.6", "--out", out, *options)

    assert status == 0
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["parameters"]["k"]["value"] == pytest.approx(0.693147, rel=1e-4)
    [trajectory] = result["trajectories"]
    assert trajectory["times"] == [0.0, 1.0, 2.0, 3.0]
    assert table(printed)["k"][-4:] == ["0.6", "0.1", "…", "2"]


def test_a_table_of_experiments_is_fitted(tmp_path: Path) -> None:
    """Each halves at its own pace; the second signal of `slow` was not measured."""
    text = "experiment,time,c,signal\nslow,0,8,\nslow,2,4,\nslow,4,2,\nfast,0,6,18\nfast,1,3,9\nfast,2,,4.5\n"
    request = {
        "system": MODEL, "per_experiment": ["k"], "parameters": {"k": 0.5}, "initial_state": {"c": 7},
        "stages": [{"kind": "lbfgsb"}], "uncertainty": "covariance",
    }  # fmt: skip
    out, plot = tmp_path / "result.json", tmp_path / "fit.png"

    status, printed, _ = run(
        "fit", written(tmp_path, request), "--data", written(tmp_path, text, "data.csv"), "--out", out, "--plot", plot
    )

    assert status == 0
    slow, fast = json.loads(out.read_text(encoding="utf-8"))["trajectories"]
    assert (slow["name"], fast["name"]) == ("slow", "fast")
    assert slow["parameters"]["k"]["value"] == pytest.approx(0.346574, rel=1e-4)
    assert fast["parameters"]["k"]["value"] == pytest.approx(0.693147, rel=1e-4)
    lines = [" ".join(line.split()[:2]) for line in printed.splitlines()]
    assert [line for line in lines if line.startswith(("experiment", "k ", "c(0)"))] == [
        "experiment 'slow'",
        "k 0.346574",
        "c(0) 8",
        "experiment 'fast'",
        "k 0.693147",
        "c(0) 6",
    ]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_init_makes_experiments_of_a_table(tmp_path: Path) -> None:
    data = written(tmp_path, "experiment,time,prey,predator\na,0,1,2\na,1,2,1\nb,0,,5\nb,1,3,4\n", "data.csv")

    status, out, _ = run("init", "lotka-volterra", "--data", data)

    assert status == 0
    request = json.loads(out)
    parse_problem(request)
    assert [(s["name"], s["initial_state"]) for s in request["experiments"]] == [
        ("a", {"prey": 1.0, "predator": 2.0}),
        ("b", {"prey": 3.0, "predator": 5.0}),
    ]


@pytest.mark.parametrize("name", ["fit", "submit"])
def test_mistakes_are_told_by_line_column_and_option(tmp_path: Path, stack: Stack, name: str) -> None:
    data = written(tmp_path, "time,prey,lynx\n0,1,2\n2,1,2\n1,1,2\n", "data.csv")
    options = ["--url", stack.url] if name == "submit" else []

    status, _, err = run(
        name, "--system", "lotka-volterra", "--data", data, "--guess", "alpha=1", "--initial", "prey=1", *options
    )

    assert status == 2
    told = {line.strip().partition(": ")[0] for line in err.splitlines()[1:]}
    assert told == {
        "data.csv, line 4, column 'time'", "data.csv, column 'lynx'", "--guess beta=…", "--guess gamma=…",
        "--guess delta=…", "--initial predator=…",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["fit", "submit", "init"])
def test_a_cell_that_is_no_number_is_told_before_anything_is_done(tmp_path: Path, name: str) -> None:
    data = written(tmp_path, "time,prey\n0,1\n1,many\n", "data.csv")
    system = ["lotka-volterra"] if name == "init" else ["--system", "lotka-volterra"]

    status, out, err = run(name, *system, "--data", data)

    assert (status, out) == (2, "")
    assert "data.csv, line 3, column 'prey': 'many' is not a number" in err


def test_nothing_to_fit_is_2() -> None:
    status, _, err = run("fit", "--guess", "k=1")

    assert status == 2
    assert "--system" in err


def test_what_simulate_writes_can_be_fitted(tmp_path: Path) -> None:
    request = changed(DECAY, "/predictions", REMOVED, "/data/values/seen", [4.0, None, 1.0])
    path, sheet = written(tmp_path, request), tmp_path / "data.csv"

    simulated = run("simulate", path, "--out", sheet)
    fitted = run("fit", path, "--data", sheet)

    assert (simulated[0], fitted[0]) == (0, 0)
    assert table(fitted[1])["k"][0] == "0.4"  # the guess, at which it was simulated
    assert table(fitted[1])["observations"] == ["2"]


def test_simulate_writes_a_table_of_experiments(tmp_path: Path) -> None:
    series = [{"name": name, "times": [0, 1], "values": {"c": [1, 1]}} for name in ("a", "b")]
    request = {"system": MODEL, "parameters": {"k": 0.5}, "initial_state": {"c": 7}, "experiments": series}
    path, sheet = written(tmp_path, request), tmp_path / "data.csv"

    to_table = run("simulate", path, "--out", sheet, "--plot", tmp_path / "data.png")
    to_json = run("simulate", path)

    assert (to_table[0], to_json[0]) == (0, 0)
    told = json.loads(to_json[1])
    assert [s["name"] for s in told] == ["a", "b"]
    found = read_table(sheet).series
    assert [s.values["c"] for s in found] == [s["values"]["c"] for s in told]
    parse_problem({**request, "experiments": told})


def test_init_writes_a_request_that_runs(tmp_path: Path) -> None:
    path, again = tmp_path / "start.json", tmp_path / "again.json"

    first = run("init", written(tmp_path, MODEL, "model.json"), "--seed", "3", "--out", path)
    same = run("init", tmp_path / "model.json", "--seed", "3", "--out", again)
    other = run("init", tmp_path / "model.json", "--seed", "4")
    fitted = run("fit", path)

    assert (first[0], same[0], other[0], fitted[0]) == (0, 0, 0, 0)
    text = path.read_text(encoding="utf-8")
    assert again.read_text(encoding="utf-8") == text
    assert other[1] != text
    assert json.loads(other[1])["parameters"] == {"k": 1.0}
    assert max(len(line) for line in text.splitlines()) > 200, "numbers stand in one line"
    rows = table(fitted[1])
    assert float(rows["k"][0]) == pytest.approx(1.0, abs=0.2)
    assert float(rows["k"][1]) > 0  # its standard error


@pytest.mark.parametrize("name", CATALOGUE)
def test_init_makes_a_request_of_every_example(name: str) -> None:
    status, out, _ = run("init", name)

    assert status == 0
    problem = parse_problem(json.loads(out))
    example = CATALOGUE[name].example
    assert example
    assert problem.parameters == dict(example.parameters)
    assert len(json.loads(out)["data"]["times"]) == len(example.times)


def test_init_starts_empty_before_doses(tmp_path: Path) -> None:
    model = {**MODEL, "states": ["gut", "c"], "equations": {"gut": "-k*gut", "c": "k*gut"}, "observables": {"c": "c"}}
    data = written(tmp_path, "time,c,dose,into\n0,,100,gut\n1,2,,\n2,3,,\n", "data.csv")

    status, out, _ = run("init", written(tmp_path, model, "model.json"), "--data", data)

    assert status == 0
    request = json.loads(out)
    assert request["initial_state"] == {"gut": {"guess": 0.0, "fixed": True}, "c": 2.0}
    parse_problem(request)


def test_init_starts_at_the_callers_first_values(tmp_path: Path) -> None:
    data = written(tmp_path, "time,prey\n1900,\n1901,47.2\n1902,70.2\n", "data.csv")

    status, out, _ = run("init", "lotka-volterra", "--data", data)

    assert status == 0
    request = json.loads(out)
    assert request["data"] == {"times": [1900.0, 1901.0, 1902.0], "values": {"prey": [None, 47.2, 70.2]}}
    assert request["initial_state"] == {"prey": 47.2, "predator": 1.0}
    parse_problem(request)


def test_init_says_what_is_wrong(tmp_path: Path) -> None:
    explosion = written(tmp_path, {**MODEL, "equations": {"c": "k*c**2"}}, "explosion.json")
    wrong = written(tmp_path, {**MODEL, "equations": {"c": "-k*d"}}, "wrong.json")

    kept = run("init", "lorenz", "--out", wrong)
    unsolved, mistaken, unknown = (run("init", system) for system in (explosion, wrong, "abacus"))

    assert (kept[0], "already exists" in kept[2]) == (2, True)
    assert (unsolved[0], "--data FILE.csv" in unsolved[2]) == (1, True)
    assert (mistaken[0], f"{wrong} /equations/c: " in mistaken[2]) == (2, True)
    assert (unknown[0], "lotka-volterra" in unknown[2]) == (2, True)
