"""Tables of measurements: their meaning, and the reports of their mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.cli.errors import BAD_REQUEST, CommandError
from service.cli.request.csv_table import Table, read_table, write_table


def table(folder: Path, text: str | bytes) -> Table:
    path = folder / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path)


def refusal(folder: Path, text: str | bytes) -> list[str]:
    with pytest.raises(CommandError) as refused:
        table(folder, text)
    assert refused.value.status == BAD_REQUEST
    return refused.value.lines()


def test_a_table_is_a_series(tmp_path: Path) -> None:
    found = table(tmp_path, "\ufefftime, prey ,predator\r\n0,1.5,\r\n\r\n.5e1,-2E-3, 3 \r\n")

    assert not found.has_experiments
    [series] = found.series
    assert series.times == [0.0, 5.0]
    assert series.values == {"prey": [1.5, -2e-3], "predator": [None, 3.0]}
    assert series.lines == [2, 4]


def test_a_column_experiment_makes_several_series(tmp_path: Path) -> None:
    found = table(tmp_path, "experiment,time,x\nwarm,0,1\ncold,0,2\nwarm,1,3\n")

    assert found.has_experiments
    assert [(s.name, s.times, s.values, s.lines) for s in found.series] == [
        ("warm", [0.0, 1.0], {"x": [1.0, 3.0]}, [2, 4]),
        ("cold", [0.0], {"x": [2.0]}, [3]),
    ]


def test_every_invalid_cell_is_reported_by_line_and_column(tmp_path: Path) -> None:
    text = 'experiment,time,x,y\na,0,one,2\n,1,1,1\na,,1,1\na,2,"2,5",1e999\na,3\na,4,NaN,1_0\n'

    assert refusal(tmp_path, text)[1:] == [
        "  data.csv, line 2, column 'x': 'one' is not a number; leave the cell empty if the value is missing",
        "  data.csv, line 3, column 'experiment': empty; every row needs the name of its experiment",
        "  data.csv, line 4, column 'time': empty; every row needs a time",
        "  data.csv, line 5, column 'x': '2,5' is not a number; use a decimal point",
        "  data.csv, line 5, column 'y': '1e999' exceeds double precision",
        "  data.csv, line 6: 2 cells, but the header has 4 columns",
        "  data.csv, line 7, column 'x': 'NaN' is not a number; leave the cell empty if the value is missing",
        "  data.csv, line 7, column 'y': '1_0' is not a number; leave the cell empty if the value is missing",
    ]


def test_only_the_first_of_many_mistakes_are_reported(tmp_path: Path) -> None:
    lines = refusal(tmp_path, "time,x\n" + "0,?\n" * 50)

    assert len(lines) == 22
    assert lines[-1] == "  further on: 30 more mistakes"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the header has no column 'time'"),
        ("t,x\n0,1\n", "line 1: the header has no column 'time', only 't', 'x'"),
        ("time;x\n0;1\n", "only 'time;x'; separate columns by commas"),
        ("time\n0\n", "line 1: the header has no column for an observable"),
        ("time,x,x\n0,1,2\n", "line 1, column 'x': duplicate column"),
        ("time,x,\n0,1,2\n", "line 1: column 3 has no name"),
        ("time,x\n\n", "line 2: the table has no rows of measurements"),
        (b"time,x\n0,\xff\n", "is not UTF-8: invalid byte 0xff"),
        ('time,x\n0,"1\n', "is not a CSV table"),
    ],
)
def test_an_invalid_table_is_refused_with_the_reason(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert message in "\n".join(refusal(tmp_path, text))


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none\.csv cannot be read: No such file"):
        read_table(tmp_path / "none.csv")


def test_a_written_table_can_be_read(tmp_path: Path) -> None:
    path, data = tmp_path / "out.csv", {"times": [0.0, 1 / 3], "values": {"x": [None, 1e-300], "y": [2.0, None]}}

    write_table(path, [data])

    [series] = read_table(path).series
    assert {"times": series.times, "values": series.values} == data


def test_experiments_are_written_with_their_names(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    first = {"name": "a, b", "times": [0.0, 1.0], "values": {"x": [1.0, 2.0]}}
    second = {"name": "c", "times": [5.0], "values": {"y": [3.0]}}

    write_table(path, [first, second], several=True)

    assert [(s.name, s.times, s.values) for s in read_table(path).series] == [
        ("a, b", [0.0, 1.0], {"x": [1.0, 2.0], "y": [None, None]}),
        ("c", [5.0], {"x": [None], "y": [3.0]}),
    ]
