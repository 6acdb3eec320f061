"""The Lua scripts in this folder, run by name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import redis

from odelib.result import OUTCOMES, Outcome, OutcomeCode
from worker.states import MOVES
from worker.store.connection import store_errors
from worker.store.keys import BATCH_FIELDS, KEYS, RECORD_FIELDS

_FOLDER = Path(__file__).parent
_PRELUDES = ("prelude", "batch_prelude")


def outcome_json(code: OutcomeCode) -> str:
    """Return an outcome exactly as the JSON text of a result contains it."""
    return Outcome(code=code, message=OUTCOMES[code]).model_dump_json()


def script_text(name: str) -> str:
    """Return the text of a script, for clients of asyncio."""
    return _sources()[name]


class Scripts:
    """The scripts on one client. Each run is atomic and takes one round trip."""

    def __init__(self, client: redis.Redis) -> None:
        self._scripts = {name: client.register_script(text) for name, text in _sources().items()}

    def run(self, name: str, *arguments: str | bytes | float) -> Any:
        """Run a script and return its reply; its first lines describe both.

        Raises `StoreUnavailable` or `StoreFull`.
        """
        with store_errors():
            return self._scripts[name](args=arguments)


@cache
def _sources() -> dict[str, str]:
    prelude = _rendered() + "".join((_FOLDER / f"{name}.lua").read_text("utf-8") for name in _PRELUDES)
    names = (path.stem for path in _FOLDER.glob("*.lua") if path.stem not in _PRELUDES)
    return {name: prelude + (_FOLDER / f"{name}.lua").read_text("utf-8") for name in names}


def _rendered() -> str:
    lines = [f"local {name} = {_text(key)}" for name, key in KEYS.items()]
    moves = (
        f"{status} = {{ {', '.join(f'{to} = true' for to in sorted(to_all))} }}" for status, to_all in MOVES.items()
    )
    lines.append(f"local RECORD_FIELDS = {_list(map(_text, RECORD_FIELDS))}")
    lines.append(f"local BATCH_FIELDS = {_list(map(_text, BATCH_FIELDS))}")
    lines.append(f"local MOVES = {_list(moves)}")
    lines.append(f"local CANCELLED = {_text(outcome_json('cancelled'))}")
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    return f"[==[{value}]==]"


def _list(entries: Iterable[str]) -> str:
    return "{ " + ", ".join(entries) + " }"
