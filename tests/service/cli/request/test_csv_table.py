"""Tables of measurements: their meaning, and the reports of their mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.cli.errors import BAD_REQUEST, CommandError
from service.cli.request.csv_table import SystemColumns, Table, read_table, write_table


def table(folder: Path, text: str | bytes, system: SystemColumns | None = None) -> Table:
    path = folder / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, system=system)


def refusal(folder: Path, text: str | bytes, system: SystemColumns | None = None) -> list[str]:
    with pytest.raises(CommandError) as refused:
        table(folder, text, system)
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


def test_capitals_of_the_reserved_columns_do_not_matter(tmp_path: Path) -> None:
    found = table(tmp_path, "Experiment,TIME,Time,x\nwarm,0,7,1\n")

    [series] = found.series
    assert (series.name, series.times, series.values) == ("warm", [0.0], {"Time": [7.0], "x": [1.0]})
    [series] = table(tmp_path, "Time,time\n7,0\n").series
    assert (series.times, series.values) == ([0.0], {"Time": [7.0]})


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_numbers_between_semicolons_or_tabs_may_have_decimal_commas(tmp_path: Path, delimiter: str) -> None:
    """As spreadsheets write them where the comma is the decimal separator, and R's `write.csv2`."""
    text = '"time";"x";"y"\r\n0;1,5;-,5\r\n0,5;;2,5e-3\r\n1;12;NA\r\n;;\r\n'

    [series] = table(tmp_path, text.replace(";", delimiter)).series

    assert series.times == [0.0, 0.5, 1.0]
    assert series.values == {"x": [1.5, None, 12.0], "y": [-0.5, 2.5e-3, None]}
    [series] = table(tmp_path, f"time{delimiter}x\n0{delimiter}1.5\n").series
    assert series.values == {"x": [1.5]}


def test_a_table_has_one_decimal_separator(tmp_path: Path) -> None:
    """Otherwise 1,234 could be a thousand or one, and be read as the wrong one without a warning."""
    assert refusal(tmp_path, "time;x\n0,5;1,5\n1;1.234\n2;1.234,5\n")[1:] == [
        "  data.csv, line 3, column 'x': '1.234' has a decimal point, but numbers above have a decimal comma; "
        "use one of them, and nothing between thousands",
        "  data.csv, line 4, column 'x': '1.234,5' is not a number; leave the cell empty if the value is missing",
    ]
    assert refusal(tmp_path, "time;x\n0.5;1\n1;1,234\n")[1:] == [
        "  data.csv, line 3, column 'x': '1,234' has a decimal comma, but numbers above have a decimal point; "
        "use one of them, and nothing between thousands",
    ]


def test_nan_and_na_are_missing_values(tmp_path: Path) -> None:
    """As Python, Julia and R write them."""
    [series] = table(tmp_path, "time,x\n0,NaN\n1,nan\n2,NA\n3,\n4, 1\n").series

    assert series.values == {"x": [None, None, None, None, 1.0]}


@pytest.mark.parametrize(
    ("dates", "unit", "times"),
    [
        (["2020-02-27", "2020-02-28", "2020-03-01"], "days", [0.0, 1.0, 3.0]),
        (["2020-02-27", "2020-03-05"], "weeks", [0.0, 1.0]),
        (["1900-01-01T06:00", "1900-01-01 07:30:00", "1900-01-02"], "hours", [0.0, 1.5, 18.0]),
        (["2020-01-01T00:00:00.5", "2020-01-01T00:00:02"], "seconds", [0.0, 1.5]),
        (["2020-01-01T12:00Z", "2020-01-01T14:00+01:00"], "minutes", [0.0, 60.0]),
    ],
)
def test_dates_are_counted_from_the_first_row_in_the_given_unit(
    tmp_path: Path, dates: list[str], unit: str, times: list[float]
) -> None:
    path = tmp_path / "data.csv"
    path.write_text("time,x\n" + "".join(f"{date},1\n" for date in dates), encoding="utf-8")

    [series] = read_table(path, unit).series

    assert series.times == times


def test_all_experiments_count_dates_from_the_first_row(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("experiment,time,x\na,2020-01-02,1\nb,2020-01-01,1\nb,2020-01-04,1\n", encoding="utf-8")

    assert [series.times for series in read_table(path, "days").series] == [[0.0], [-1.0, 2.0]]


@pytest.mark.parametrize(
    ("text", "unit", "message"),
    [
        ("2020-01-01", None, "'2020-01-01' is a date; pass the unit of time with --time-unit seconds, minutes, hours, "
         "days or weeks. Times are then counted from the first row"),
        ("2020-02-30", "days", "'2020-02-30' is not a valid date: "),
        ("2020-01-01T25:00", "days", "'2020-01-01T25:00' is not a valid date: "),
        ("01.02.2020", "days", "'01.02.2020' is not a number"),
        ("2020-01-01\n3", "days", "line 3, column 'time': '3' is a number, but times above are dates"),
        ("3\n2020-01-01", None, "line 3, column 'time': '2020-01-01' is a date, but times above are numbers"),
        ("3", "days", "'3' is a number, not a date; --time-unit is only for dates"),
        ("2020-01-01\n2020-01-02T00:00Z", "days", "has a time zone, dates above do not"),
        ("2020-01-01T00:00Z\n2020-01-02", "days", "has no time zone, but dates above have one"),
    ],
)  # fmt: skip
def test_an_invalid_date_is_reported(tmp_path: Path, text: str, unit: str | None, message: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text("".join(f"{cell},1\n" for cell in ["time", *text.split()]).replace("time,1", "time,x"), "utf-8")

    with pytest.raises(CommandError) as refused:
        read_table(path, unit)
    assert message in "\n".join(refused.value.lines())


def test_dates_without_a_unit_are_one_mistake(tmp_path: Path) -> None:
    assert len(refusal(tmp_path, "time,x\n" + "2020-01-01,1\n" * 30)) == 2


def test_every_invalid_cell_is_reported_by_line_and_column(tmp_path: Path) -> None:
    text = 'experiment,time,x,y\na,0,one,2\n,1,1,1\na,,1,1\na,2,"2,5",1e999\na,3\na,4,1e,1_0\n'

    assert refusal(tmp_path, text)[1:] == [
        "  data.csv, line 2, column 'x': 'one' is not a number; leave the cell empty if the value is missing",
        "  data.csv, line 3, column 'experiment': empty; every row needs the name of its experiment",
        "  data.csv, line 4, column 'time': empty; every row needs a time",
        "  data.csv, line 5, column 'x': '2,5' is not a number; use a decimal point, or separate the columns by "
        "semicolons",
        "  data.csv, line 5, column 'y': '1e999' is outside the range of double precision",
        "  data.csv, line 6: 2 cells, but the header has 4 columns",
        "  data.csv, line 7, column 'x': '1e' is not a number; leave the cell empty if the value is missing",
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
        ("time x\n0 1\n", "only 'time x'; separate columns by commas, semicolons or tabs"),
        ("Time,x,x\n0,1,2\n", "line 1, column 'x': duplicate column"),
        ("Time,TIMES\n,1\n", "line 2, column 'Time': empty; every row needs a time"),
        ("time,x\nNaN,1\n", "line 2, column 'time': NaN; every row needs a time"),
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


ONE_STATE = SystemColumns(states=["x"], observables=["c"], inputs=["heat"])
TWO_STATES = SystemColumns(states=["gut", "blood"], observables=["c"])


def test_rows_of_doses_and_inputs_need_no_measurement(tmp_path: Path) -> None:
    text = "Time,c,Dose,Into,Duration,heat\n0,,100,gut,,1.5\n1,2.0,,,,\n2,3.0,50,blood,0.5,\n3,,0,,,2.5\n4,,,,,\n"
    found = table(tmp_path, text, SystemColumns(["gut", "blood"], ["c"], ["heat"]))

    assert found.has_doses
    [series] = found.series
    assert (series.times, series.values, series.lines) == ([1.0, 2.0, 4.0], {"c": [2.0, 3.0, None]}, [3, 4, 6])
    assert series.doses == [
        {"into": "gut", "amount": 100.0, "at": 0.0},
        {"into": "blood", "amount": 50.0, "at": 2.0, "duration": 0.5},
    ]
    assert series.dose_lines == [2, 4]
    assert series.inputs == {"heat": ([0.0, 3.0], [1.5, 2.5])}


def test_a_dose_goes_into_the_only_state(tmp_path: Path) -> None:
    [series] = table(tmp_path, "time,c,dose\n0,1,5\n", ONE_STATE).series
    assert series.doses == [{"into": "x", "amount": 5.0, "at": 0.0}]
    assert refusal(tmp_path, "time,c,dose\n0,1,5\n", TWO_STATES)[1:] == [
        "  data.csv, line 2, column 'into': a dose needs the state that it is given into, such as gut"
    ]


def test_columns_are_observables_if_the_system_has_them(tmp_path: Path) -> None:
    found = table(tmp_path, "time,dose,into\n0,1,5\n", SystemColumns(["x"], ["dose", "into"]))
    assert not found.has_doses
    assert found.series[0].values == {"dose": [1.0], "into": [5.0]}


def test_mistakes_in_doses_and_inputs(tmp_path: Path) -> None:
    assert refusal(tmp_path, "time,c,dose,duration,heat\n0,1,a,b,c\n", ONE_STATE)[1:] == [
        "  data.csv, line 2, column 'dose': 'a' is not a number; leave the cell empty if the value is missing",
        "  data.csv, line 2, column 'heat': 'c' is not a number; leave the cell empty if the value is missing",
    ]
    assert "no rows of measurements" in refusal(tmp_path, "time,c,dose\n0,,5\n", ONE_STATE)[1]


ORAL = SystemColumns(["gut", "blood"], ["c"])


def test_an_event_table_has_doses_and_one_observable(tmp_path: Path) -> None:
    text = (
        "ID,TIME,AMT,DV,EVID,CMT,RATE,II,ADDL,MDV,SS\n"
        "1,0,100,.,1,1,.,12,3,1,0\n"
        "1,2,.,2.5,0,2,.,.,.,0,.\n"
        "1,3,.,9.9,0,2,.,.,.,1,.\n"
        "2,0,50,.,1,blood,25,8,0,1,1\n"
        "2,4,.,.,2,.,.,.,.,1,.\n"
        "2,6,0,1.5,0,2,0,0,0,0,0\n"
    )
    found = table(tmp_path, text, ORAL)

    one, two = found.series
    assert (one.name, one.times, one.values, one.lines) == ("1", [2.0], {"c": [2.5]}, [3])
    assert one.doses == [{"into": "gut", "amount": 100.0, "at": 0.0, "every": 12.0, "count": 4}]
    assert (two.times, two.values) == ([6.0], {"c": [1.5]})
    assert two.doses == [
        {"into": "blood", "amount": 50.0, "at": 0.0, "rate": 25.0, "every": 8.0, "count": 1, "steady": True}
    ]
    assert found.has_doses


def test_an_event_table_needs_only_times_amounts_and_values(tmp_path: Path) -> None:
    [series] = table(tmp_path, "time,amt,dv\n0,10,\n1,,4\n", ORAL).series

    assert series.doses == [{"into": "gut", "amount": 10.0, "at": 0.0}]
    assert (series.times, series.values) == ([1.0], {"c": [4.0]})


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("0,10,,4,1,,,,", "line 2, column 'EVID': 4 is a reset with a dose, which cannot be expressed"),
        ("0,10,,0,1,,,,", "line 2, column 'AMT': an amount, but EVID is 0"),
        ("0,0,,1,1,,,,", "line 2, column 'AMT': 0 or empty, but EVID is 1"),
        ("0,10,,1,3,,,,", "line 2, column 'CMT': 3 is no state; it is one of 'gut' or 'blood'"),
        ("0,10,,1,1,-2,,,", "line 2, column 'RATE': -2: its rate or duration is a parameter"),
        ("0,10,,1,1,,,2,", "line 2, column 'II': 0, but doses that repeat need an interval"),
        ("0,10,,1,1,,12,1.5,", "line 2, column 'ADDL': 1.5 is not a number of further doses"),
        ("0,10,,1,1,,12,,2", "line 2, column 'SS': 2 cannot be expressed"),
    ],
)
def test_mistakes_of_an_event_table_name_the_cell(row: str, words: str, tmp_path: Path) -> None:
    found = refusal(tmp_path, f"TIME,AMT,DV,EVID,CMT,RATE,II,ADDL,SS\n{row}\n1,,4,0,,,,,\n", ORAL)
    assert words in "\n".join(found)


def test_a_value_of_an_event_table_needs_its_observable(tmp_path: Path) -> None:
    found = refusal(tmp_path, "TIME,AMT,DV\n0,10,\n1,,4\n", SystemColumns(["a"], ["c", "d"]))
    assert "column 'DV': which observable is it? Name the column 'c' or 'd' instead" in "\n".join(found)
