"""Taking in a batch: its request, then series after series, which go to the store in chunks as they arrive."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from odelib.errors import FieldError, ProblemError
from odelib.problem.batches import batch_mistakes, parse_member
from odelib.problem.limits import Limits
from odelib.problem.pointers import join
from service.http.request_body import canonical
from service.strict_json import MalformedJsonError, parse_json
from worker.batch_queue import BatchQueue
from worker.costs import estimated_seconds
from worker.store.batches import AcceptedBatch, Refusal

CUSTOM = "custom"
_SAMPLES = 10  # how long a series takes is estimated from the first valid one of so many
_CHUNK_SECONDS = 5.0  # that a chunk should take: a killed worker loses no more, and all workers get some
_MAX_CHUNK_SERIES = 500
_MAX_CHUNK_BYTES = 4 * 2**20
_UNKNOWN_SECONDS = 0.1  # for a series, if none of the samples is valid


class BatchIntake:
    """Takes in one batch. Methods block, and must not run at the same time.

    Series are not validated here, but for their names: a bad one must fail alone, so the worker refuses it.
    max_series: of one batch. idempotency_key: as for a fit; what is compared is the meaning of the request and of each
    series, in whichever form they come.
    """

    def __init__(
        self,
        queue: BatchQueue,
        limits: Limits,
        *,
        max_depth: int,
        max_series: int,
        idempotency_key: str | None = None,
    ) -> None:
        self._queue = queue
        self._idempotency_key = idempotency_key
        self._limits = limits
        self._max_depth, self._max_series = max_depth, max_series
        self._id = queue.begin()
        self._digest = hashlib.sha256()
        self._request: Any = None
        self._has_request = False
        self._seconds: float | None = None  # for a series
        self._samples = 0
        self._missing: set[FieldError] | None = None  # guesses, in all samples
        self._names: set[str] = set()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._series, self._chunks, self._stored = 0, 0, 0

    def take_lines(self, lines: list[bytes]) -> None:
        """Take lines of JSON: the request, then a series each; empty ones count for nothing.

        Raises `MalformedJsonError` and `ProblemError` for mistakes in the request, and as `BatchQueue.add_chunk`.
        """
        for line in lines:
            if not line.strip():
                continue
            if self._has_request:
                self._take_series(line)
            else:
                self.take_request(parse_json(line, self._max_depth))
                self._note(line)

    def take_body(self, body: bytes) -> None:
        """Take a whole batch as one JSON object. Raises as `take_lines`."""
        parsed = parse_json(body, self._max_depth)
        if not isinstance(parsed, dict):
            raise ProblemError([FieldError("", "must be an object with `request` and `series`")])
        errors = [FieldError(join("", name), "unknown field") for name in parsed if name not in ("request", "series")]
        if "request" not in parsed:
            errors.append(FieldError("/request", "a batch needs a request"))
        series = parsed.get("series")
        if not isinstance(series, list):
            errors.append(FieldError("/series", "must be a list of series"))
        if errors or not isinstance(series, list):
            raise ProblemError(errors)
        self.take_request(parsed["request"])
        self._note(json.dumps(parsed["request"]).encode())
        for entry in series:
            line = json.dumps(entry).encode()
            self._note(line)
            self._take(entry, line)

    def take_request(self, request: Any) -> None:
        """Take the request. Raises `ProblemError` if it is not valid."""
        if not isinstance(request, dict):
            raise ProblemError([FieldError("/request", "must be a fit request without data, as an object")])
        if mistakes := batch_mistakes(request, self._limits):
            raise ProblemError([FieldError("/request" + each.pointer, each.detail) for each in mistakes])
        self._request, self._has_request = request, True

    def accept(self, *, owner: str) -> AcceptedBatch:
        """Accept the batch, all of which has arrived.

        Raises `ProblemError` if the request is wrong or there are no series, and as `BatchQueue.accept`.
        """
        if not self._has_request:
            raise ProblemError([FieldError("/request", "a batch needs a request, in the first line")])
        self._check_guesses()
        if not self._series:
            raise ProblemError([FieldError("/series", "a batch needs at least one series")])
        self._store_chunk()
        system, solver = self._request["system"], self._request.get("solver", {})
        accepted = self._queue.accept(
            self._id,
            self._request,
            system=system if isinstance(system, str) else CUSTOM,
            labels=self._request.get("labels", {}),
            queue="gpu" if solver.get("device") == "cuda" else "cpu",
            series=self._series,
            chunks=self._chunks,
            seconds=(self._seconds or _UNKNOWN_SECONDS) * self._series,
            idempotency_key=self._idempotency_key,
            body_digest=self._digest.hexdigest(),
            owner=owner,
        )
        if not accepted.created:
            self.discard()
        return accepted

    def discard(self) -> None:
        """Forget what has arrived."""
        self._queue.discard(self._id)

    def _take_series(self, line: bytes) -> None:
        try:
            series = parse_json(line, self._max_depth)
        except MalformedJsonError as error:
            self._note(line, is_json=False)
            self._add(Refusal(None, "", str(error)).line())
        except ProblemError as error:
            self._note(line, is_json=False)
            self._add(Refusal(None, error.errors[0].pointer, error.errors[0].detail).line())
        else:
            self._note(line)
            self._take(series, line)

    def _note(self, line: bytes, *, is_json: bool = True) -> None:
        """Remember a line, to compare batches with the same idempotency key."""
        if self._idempotency_key is not None:
            self._digest.update((canonical(line) if is_json else line) + b"\n")

    def _take(self, series: Any, line: bytes) -> None:
        """Take a series that is proper JSON. line: its text."""
        if not isinstance(series, dict):
            self._add(Refusal(None, "", "must be a series, as an object").line())
            return
        name = series.get("name")
        if not isinstance(name, str):
            self._add(Refusal(None, "/name", "every series of a batch needs a name").line())
            return
        if name in self._names:
            self._add(Refusal(name, "/name", f"an earlier series of this batch has the name {name!r:.80}").line())
            return
        self._names.add(name)
        if self._seconds is None and self._samples < _SAMPLES:
            self._sample(series)
        self._add(line)

    def _add(self, line: bytes) -> None:
        if self._series >= self._max_series:
            detail = f"a batch may have at most {self._max_series} series; send the others as another batch"
            raise ProblemError([FieldError("/series", detail)])
        self._pending.append(line.strip())
        self._pending_bytes += len(line)
        self._series += 1
        if len(self._pending) >= self._chunk_series() or self._pending_bytes >= _MAX_CHUNK_BYTES:
            self._store_chunk()

    def _sample(self, series: dict[str, Any]) -> None:
        """Estimate how long a series takes, if this one is valid, and see which guesses are missing if it is not."""
        self._samples += 1
        try:
            self._seconds = estimated_seconds(parse_member(self._request, series, self._limits))
        except ProblemError as error:  # the worker refuses it
            guesses = {each for each in error.errors if each.pointer.startswith(("/parameters/", "/initial_state/"))}
            self._missing = guesses if self._missing is None else self._missing & guesses
        if self._samples == _SAMPLES:
            self._check_guesses()

    def _check_guesses(self) -> None:
        """Refuse the request if it lacks guesses, and so does every sample."""
        if self._seconds is None and self._missing:
            errors = sorted(self._missing, key=lambda each: each.pointer)
            raise ProblemError([FieldError("/request" + each.pointer, each.detail) for each in errors])

    def _chunk_series(self) -> int:
        return max(1, min(_MAX_CHUNK_SERIES, int(_CHUNK_SECONDS / (self._seconds or _UNKNOWN_SECONDS))))

    def _store_chunk(self) -> None:
        if self._pending:
            self._queue.add_chunk(self._id, self._chunks, self._stored, self._pending)
            self._chunks += 1
            self._stored = self._series
            self._pending, self._pending_bytes = [], 0
