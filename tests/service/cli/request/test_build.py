"""A request built from files and options, and the places at which its mistakes are reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from odelib.errors import FieldError, ProblemError
from odelib.problem.request import parse_problem
from service.cli.errors import BAD_REQUEST, CommandError
from service.cli.options import RequestOptions
from service.cli.request.build import build_request
from tests.service.requests import MINIMAL, Json, changed

TABLE = "time,prey,predator\n0.0,1.02,0.97\n0.1,1.05,\n0.2,1.11,0.71\n"
GUESSES = ("alpha=1.2", "beta=1", "gamma=1.1", "delta=2.9")
INITIAL = ("prey=0.8", "predator=2*alpha")


def written(folder: Path, content: Any, name: str = "file.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def request_of(options: RequestOptions) -> Json:
    request = build_request(options)
    assert json.loads(request.body) == request.parsed
    parsed: Json = request.parsed
    return parsed


def mistakes(options: RequestOptions) -> list[str]:
    request = build_request(options)
    with pytest.raises(ProblemError) as refused:
        parse_problem(request.parsed)
    return [error.pointer for error in request.origins.translate(refused.value.errors)]


def test_a_file_without_options_is_sent_unchanged(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps(MINIMAL, indent=3))

    request = build_request(RequestOptions(path))

    assert request.body == path.read_bytes()
    assert request.parsed == MINIMAL
    assert request.origins.translate([FieldError("/parameters/gamma", "…")]) == [FieldError("/parameters/gamma", "…")]


def test_options_and_a_table_make_a_request(tmp_path: Path) -> None:
    data = written(tmp_path, TABLE, "data.csv")
    options = RequestOptions(
        system="lotka-volterra", data=data, guesses=GUESSES, initial=INITIAL, fixed=("prey", "gamma=1"),
        lower=("alpha=0", "prey=0"), upper=("alpha=9",), uncertainty="covariance",
    )  # fmt: skip

    assert request_of(options) == {
        "system": "lotka-volterra",
        "data": {"times": [0.0, 0.1, 0.2], "values": {"prey": [1.02, 1.05, 1.11], "predator": [0.97, None, 0.71]}},
        "parameters": {
            "alpha": {"guess": 1.2, "lower": 0.0, "upper": 9.0},
            "beta": 1.0,
            "gamma": {"guess": 1.0, "fixed": True},
            "delta": 2.9,
        },
        "initial_state": {"prey": {"guess": 0.8, "fixed": True, "lower": 0.0}, "predator": "2*alpha"},
        "uncertainty": "covariance",
    }
    parse_problem(request_of(options))


def test_a_table_replaces_the_measurements_of_a_file_and_options_its_guesses(tmp_path: Path) -> None:
    own = {"start_time": -1.0, "sigma": {"prey": 0.1}}
    request = changed(MINIMAL, "/data", {**MINIMAL["data"], **own}, "/parameters/beta", {"guess": 2.0, "lower": 0.5})
    data = written(tmp_path, TABLE, "data.csv")

    found = request_of(RequestOptions(written(tmp_path, request), data=data, guesses=("beta=3", "alpha=4")))

    assert found["data"] == {
        "times": [0.0, 0.1, 0.2],
        "values": {"prey": [1.02, 1.05, 1.11], "predator": [0.97, None, 0.71]},
        **own,
    }
    assert found["parameters"] == {**MINIMAL["parameters"], "beta": {"guess": 3.0, "lower": 0.5}, "alpha": 4.0}


def test_a_table_of_experiments_makes_experiments(tmp_path: Path) -> None:
    """Fields of an experiment in the file other than its measurements are kept."""
    data = written(tmp_path, "experiment,time,prey,predator\nb,0,1,\na,0,2,3\nb,1,4,\n", "data.csv")
    given = [{"name": "a", "times": [7], "values": {"prey": [1]}, "initial_state": {"prey": 5.0}}]
    request = {**{k: v for k, v in MINIMAL.items() if k != "data"}, "experiments": given}

    found = request_of(RequestOptions(written(tmp_path, request), data=data))

    assert "data" not in found
    assert found["experiments"] == [
        {"name": "b", "times": [0.0, 1.0], "values": {"prey": [1.0, 4.0]}},
        {"name": "a", "times": [0.0], "values": {"prey": [2.0], "predator": [3.0]}, "initial_state": {"prey": 5.0}},
    ]
    assert "experiments" in request_of(RequestOptions(written(tmp_path, MINIMAL), data=data))
    single = request_of(RequestOptions(written(tmp_path, request), data=written(tmp_path, TABLE, "one.csv")))
    assert "experiments" not in single
    assert single["data"]["times"] == [0.0, 0.1, 0.2]


def test_the_initial_values_may_hold_before_the_first_measurement(tmp_path: Path) -> None:
    several = written(tmp_path, "experiment,time,prey\nb,1,1\na,2,2\n", "several.csv")
    one = written(tmp_path, TABLE, "one.csv")
    request = written(tmp_path, MINIMAL)

    assert request_of(RequestOptions(request, data=one, start_time=-2.0))["data"]["start_time"] == -2.0
    assert request_of(RequestOptions(request, start_time=-2.0))["data"] == {**MINIMAL["data"], "start_time": -2.0}
    found = request_of(RequestOptions(request, data=several, start_time=0.0))
    assert [series["start_time"] for series in found["experiments"]] == [0.0, 0.0]
    assert mistakes(RequestOptions(request, data=one, start_time=5.0)) == ["--start-time"]
    assert mistakes(RequestOptions(request, data=several, start_time=1.5)) == ["--start-time"]


def test_dates_are_read_with_a_unit_of_time(tmp_path: Path) -> None:
    data = written(tmp_path, "Time;prey\n2020-01-01;1,5\n2020-01-03;NaN\n", "data.csv")
    request = written(tmp_path, MINIMAL)

    found = request_of(RequestOptions(request, data=data, time_unit="days"))

    assert found["data"] == {"times": [0.0, 2.0], "values": {"prey": [1.5, None]}}
    falling = written(tmp_path, "Time,prey\n2020-01-03,1\n2020-01-01,1\n", "falling.csv")
    assert mistakes(RequestOptions(request, data=falling, time_unit="days")) == ["falling.csv, line 3, column 'Time'"]


def test_a_definition_is_read_from_a_file(tmp_path: Path) -> None:
    definition = {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}}
    model, data = written(tmp_path, definition, "model.json"), written(tmp_path, "time,x\n0,2\n1,1\n", "data.csv")
    options = RequestOptions(system=str(model), data=data, guesses=("k=1",), initial=("x=2",), fixed=("x",))

    found = request_of(options)

    assert found["system"] == definition
    assert found["initial_state"] == {"x": {"guess": 2.0, "fixed": True}}
    written(tmp_path, {**definition, "equations": {"x": "-k*z"}}, "model.json")
    assert mistakes(options) == [f"{model} /equations/x"]


def test_missing_parts_are_named_by_their_options(tmp_path: Path) -> None:
    data = written(tmp_path, TABLE, "data.csv")

    assert set(mistakes(RequestOptions(system="lotka-volterra", guesses=("alpha=1",), fixed=("beta",)))) == {
        "--data FILE.csv", "--guess beta=…", "--guess gamma=…", "--guess delta=…", "--initial prey=…",
        "--initial predator=…",
    }  # fmt: skip
    assert mistakes(RequestOptions(written(tmp_path, changed(MINIMAL, "/parameters", {})), data=data)) == [
        "/parameters/alpha", "/parameters/beta", "/parameters/gamma", "/parameters/delta",
    ]  # fmt: skip


def test_mistakes_are_reported_at_their_origin(tmp_path: Path) -> None:
    text = "time,prey,lynx\n0,1,1\n2,1,1\n1,1,1\n"
    options = RequestOptions(
        written(tmp_path, changed(MINIMAL, "/zeta", 1, "/parameters/gamma", 9.0)),
        data=written(tmp_path, text, "data.csv"),
        guesses=("kappa=1",), initial=("prey=2*x",), lower=("alpha=5", "gamma=10", "delta=0"), upper=("delta=-1",),
        uncertainty="some",
    )  # fmt: skip

    assert sorted(mistakes(options)) == [
        "--guess kappa", "--initial prey", "--lower delta", "--uncertainty",
        "/parameters/alpha/guess", "/parameters/gamma/guess", "/zeta",
        "data.csv, column 'lynx'", "data.csv, line 4, column 'time'",
    ]  # fmt: skip


def test_mistakes_in_experiments_are_reported_by_line(tmp_path: Path) -> None:
    """By the pointers of the interface."""
    data = written(tmp_path, "experiment,time,prey\nb,0,1\na,3,2\nb,1,4\na,2,4\n", "data.csv")
    origins = build_request(RequestOptions(written(tmp_path, MINIMAL), data=data)).origins

    translated = origins.translate(
        [
            FieldError(p, "…")
            for p in ("/experiments/1/times/1", "/experiments/0/values/prey/1", "/experiments/0/values")
        ]
    )

    assert [error.pointer for error in translated] == [
        "data.csv, line 5, column 'time'", "data.csv, line 4, column 'prey'", "data.csv",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (RequestOptions(), "--system and --data"),
        (RequestOptions(system="abacus"), "'abacus' is neither a catalogue system (lotka-volterra, "),
        (RequestOptions(system="none.json"), "none.json cannot be read"),
        (
            RequestOptions(system="lorenz", data=Path("data.csv"), time_unit="years"),
            "--time-unit takes seconds, minutes, hours, days or weeks, not 'years'",
        ),
        (RequestOptions(system="lorenz", time_unit="days"), "pass --data FILE.csv too"),
        (RequestOptions(system="lorenz", guesses=("rho",)), "--guess takes NAME=VALUE, not 'rho'"),
        (RequestOptions(system="lorenz", guesses=("rho=two",)), "--guess rho: 'two' is not a finite number"),
        (RequestOptions(system="lorenz", initial=("x=inf",)), "--initial x: 'inf' is not a finite number"),
        (RequestOptions(system="lorenz", lower=("=1",)), "--lower takes NAME=VALUE, not '=1'"),
        (RequestOptions(system="lorenz", fixed=("rho=nan",)), "--fix rho: 'nan' is not a finite number"),
    ],
)
def test_invalid_options_are_refused(options: RequestOptions, message: str) -> None:
    with pytest.raises(CommandError) as refused:
        build_request(options)

    assert refused.value.status == BAD_REQUEST
    assert message in refused.value.message


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="it must be a JSON object"):
        build_request(RequestOptions(written(tmp_path, []), guesses=("k=1",)))
    with pytest.raises(CommandError, match="is a request; --system needs the definition of a system"):
        build_request(RequestOptions(system=str(written(tmp_path, MINIMAL))))
    with pytest.raises(CommandError) as refused:
        build_request(RequestOptions(written(tmp_path, changed(MINIMAL, "/parameters", 3)), guesses=("k=1",)))
    assert refused.value.lines()[1] == "  /parameters: must be an object"


def test_doses_and_inputs_of_a_table_and_their_mistakes(tmp_path: Path) -> None:
    system = {
        "states": ["x"],
        "parameters": ["k"],
        "inputs": ["heat"],
        "equations": {"x": "-k*x*heat"},
        "observables": {"c": "x"},
    }
    file = written(
        tmp_path,
        {
            "system": system,
            "parameters": {"k": 1.0},
            "initial_state": {"x": 0},
            "data": {"inputs": {"heat": {"interpolation": "previous", "outside": "hold"}}, "observed": "before"},
        },
    )
    data = written(tmp_path, "time,c,dose,duration,heat\n0,,5,2,1.0\n1,2,,,\n3,1,,,2.5\n", "data.csv")
    request = request_of(RequestOptions(file, data=data))
    assert request["data"] == {
        "times": [1.0, 3.0],
        "values": {"c": [2.0, 1.0]},
        "doses": [{"into": "x", "amount": 5.0, "at": 0.0, "duration": 2.0}],
        "inputs": {"heat": {"interpolation": "previous", "outside": "hold", "times": [0.0, 3.0], "values": [1.0, 2.5]}},
        "observed": "before",
    }
    assert parse_problem(request).series[0].start == 0.0
    bad = written(tmp_path, "time,c,dose,into,duration,heat\n0,,5,y,-2,1.0\n1,2,,,,3\n1,1,,,,2.5\n", "data.csv")
    assert mistakes(RequestOptions(file, data=bad)) == [
        "data.csv, line 4, column 'time'",
        "data.csv, line 2, column 'into'",
        "data.csv, line 2, column 'duration'",
    ]
