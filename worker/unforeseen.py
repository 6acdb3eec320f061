"""What an exception that nobody foresaw does to a fit: it fails, so that it is not tried for ever."""

from __future__ import annotations

import structlog
import torch

from worker.attempt_endings import internal_error, out_of_memory
from worker.log import where

log = structlog.get_logger(__name__)


def failure_of(error: Exception, fit_id: str, megabytes: int) -> str:
    """Return the error of the fit as JSON text, and log where it came from. megabytes: the memory limit of a fit."""
    if _is_out_of_memory(error):
        log.warning("out_of_memory", fit=fit_id, megabytes=megabytes)
        return out_of_memory(megabytes)
    kind = type(error).__name__
    log.error("unforeseen", fit=fit_id, kind=kind, at=where(error))
    return internal_error(kind)


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether memory ran out: a `MemoryError` of numpy or LLVM, or one of torch's errors."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)
