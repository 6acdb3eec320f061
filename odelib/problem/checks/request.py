"""All checks of a request except those of its system, which come first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from odelib.problem.checks.expressions import ExpressionReader
from odelib.problem.checks.hold_out import check_hold_out
from odelib.problem.checks.networks import check_network_settings
from odelib.problem.checks.noise import check_noise
from odelib.problem.checks.penalty import check_penalty
from odelib.problem.checks.predictions import check_predictions
from odelib.problem.checks.protocols import check_protocols
from odelib.problem.checks.raw import MistakeReport
from odelib.problem.checks.series import check_all_series
from odelib.problem.checks.sizes import check_sizes
from odelib.problem.checks.solver import check_solver
from odelib.problem.checks.system import DeclaredNames
from odelib.problem.checks.unknowns import check_unknowns
from odelib.problem.expressions.parser import Expression
from odelib.problem.limits import Limits
from odelib.problem.system import System


class RequestExpressions(NamedTuple):
    """The parsed expressions of a request outside its system, by their text.

    of_values: of initial values and of what was done in series and predictions. sigmas: of noise.
    """

    of_values: Mapping[str, Expression]
    sigmas: Mapping[str, Expression]


def check_request(
    raw: Mapping[str, Any],
    declared: DeclaredNames | None,
    system: System | None,
    limits: Limits,
    report: MistakeReport,
) -> RequestExpressions:
    """Report everything that is wrong between the fields. declared: None if the system's names cannot be read.

    system: None if it is invalid.
    """
    reader = ExpressionReader(limits, report)
    if declared:
        check_unknowns(raw, declared, reader, limits, report)
        check_penalty(raw, declared, report)
    check_network_settings(raw, report)
    if "continue_from" in raw:  # a service has replaced it by guesses
        report.add("/continue_from", "only a service knows earlier fits: submit the request to one")
    check_all_series(raw, declared, limits, report)
    if declared:
        check_protocols(raw, declared, system, reader, limits, report)
    sigmas = check_noise(raw, declared, limits, report)
    check_hold_out(raw, report)
    check_predictions(raw, declared, limits, report)
    check_solver(raw, report)
    check_sizes(raw, limits, report)
    return RequestExpressions(reader.expressions, sigmas)
