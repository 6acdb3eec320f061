"""The cells of a table: numbers with decimal points or commas, missing values, and times as numbers or as dates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

TIME_UNITS: Mapping[str, timedelta] = {
    "seconds": timedelta(seconds=1),
    "minutes": timedelta(minutes=1),
    "hours": timedelta(hours=1),
    "days": timedelta(days=1),
    "weeks": timedelta(weeks=1),
}
_MISSING = frozenset({"", "na", "nan", "."})  # in lower case: R writes NA, Python and Julia NaN, SAS and NONMEM a point
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d(\D.*)?", re.ASCII)


class InvalidCell(Exception):
    """A cell that is neither a value nor missing; the message says why."""


class NumberReader:
    """Reads the numbers of a table, which all have the same decimal separator.

    allows_commas: whether that may be a comma, which it cannot be where commas separate columns.
    """

    def __init__(self, *, allows_commas: bool) -> None:
        self._allows_commas = allows_commas
        self._separator: str | None = None  # of the first number that has one

    def read(self, cell: str) -> float | None:
        """Return the number, or None if it is missing. Raises `InvalidCell`."""
        text = cell.strip()
        if text.lower() in _MISSING:
            return None
        has_comma = bool(_DECIMAL_COMMA.fullmatch(text))
        if has_comma and not self._allows_commas:
            raise InvalidCell(
                f"{text!r:.40} is not a number; use a decimal point, or separate the columns by semicolons"
            )
        if not (has_comma or _NUMBER.fullmatch(text)):
            raise InvalidCell(f"{text!r:.40} is not a number; leave the cell empty if the value is missing")
        self._check_separator(text, "," if has_comma else "." if "." in text else None)
        number = float(text.replace(",", "."))
        if number in (float("inf"), float("-inf")):
            raise InvalidCell(f"{text!r:.40} is outside the range of double precision")
        return number

    def _check_separator(self, text: str, separator: str | None) -> None:
        """Refuse a second decimal separator: it may be one between thousands."""
        self._separator = self._separator or separator
        if separator not in (None, self._separator):
            names = {",": "comma", ".": "point"}
            raise InvalidCell(
                f"{text!r:.40} has a decimal {names[separator or '']}, but numbers above have a decimal "
                f"{names[self._separator or '']}; use one of them, and nothing between thousands"
            )


class TimeReader:
    """Reads times, which are all numbers, or all ISO dates, counted from the first one.

    unit: of the times, if they are dates; one of `TIME_UNITS`.
    """

    def __init__(self, numbers: NumberReader, unit: str | None) -> None:
        self._numbers = numbers
        self._unit = unit
        self._is_without_unit = False  # reported already: all rows have the same mistake
        self._first_date: datetime | None = None
        self._has_numbers = False

    def read(self, cell: str) -> float | None:
        """Return the time, or None if it is missing. Raises `InvalidCell`."""
        text = cell.strip()
        if _DATE.fullmatch(text):
            return self._date(text)
        number = self._numbers.read(text)
        if number is not None:
            self._has_numbers = True
            if self._first_date is not None:
                raise InvalidCell(f"{text!r:.40} is a number, but times above are dates")
            if self._unit is not None:
                raise InvalidCell(f"{text!r:.40} is a number, not a date; --time-unit is only for dates")
        return number

    def _date(self, text: str) -> float:
        if self._has_numbers:
            raise InvalidCell(f"{text!r:.40} is a date, but times above are numbers")
        if self._unit is None and self._is_without_unit:
            return 0.0
        if self._unit is None:
            self._is_without_unit = True
            raise InvalidCell(
                f"{text!r:.40} is a date; pass the unit of time with --time-unit {one_of(TIME_UNITS)}. Times are then "
                "counted from the first row"
            )
        try:
            date = datetime.fromisoformat(text)
        except ValueError as error:
            raise InvalidCell(f"{text!r:.40} is not a valid date: {error}") from None
        self._first_date = self._first_date or date
        if (date.tzinfo is None) != (self._first_date.tzinfo is None):
            has = "no time zone, but dates above have one" if date.tzinfo is None else "a time zone, dates above do not"
            raise InvalidCell(f"{text!r:.40} has {has}")
        return (date - self._first_date) / TIME_UNITS[self._unit]


def one_of(names: Mapping[str, object]) -> str:
    """Return the names with "or" before the last.

    >>> one_of({"a": 1, "b": 2, "c": 3})
    'a, b or c'
    """
    *first, last = names
    return f"{', '.join(first)} or {last}"
