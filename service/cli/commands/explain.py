"""`odefit explain`: equations for what a network learned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from odelib.errors import FitError, ProblemError
from service.cli.consoles import OUT
from service.cli.errors import BAD_REQUEST, FAILED, CommandError

if TYPE_CHECKING:
    from odelib.sparse_regression import Explanation


def explain(
    path: Annotated[Path, typer.Argument(metavar="FILE.json", help="The request, which has networks.")],
    result: Annotated[Path, typer.Option(metavar="RESULT.json", help="Its result, as --out writes it.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Write the request with the equations here.")
    ] = None,
    degree: Annotated[int, typer.Option(min=1, max=5, help="Highest degree of the monomials.")] = 3,
) -> None:
    """Propose equations for what the networks of a result learned, and fit them."""
    import json

    from pydantic import ValidationError

    from odelib.problem.request import parse_problem
    from odelib.result import FitResult
    from service.cli.files import check_writable, read_request, read_request_object
    from service.settings import ServiceSettings

    check_writable(out)
    try:
        problem = parse_problem(read_request(path).parsed, ServiceSettings().limits())
        found = FitResult.model_validate(read_request_object(result))
    except ProblemError as error:
        raise CommandError(BAD_REQUEST, f"{path} is invalid:", error.errors) from None
    except ValidationError:
        raise CommandError(BAD_REQUEST, f"{result} is not the result of a fit") from None
    try:
        from odelib.sparse_regression import explain as explain_result
    except ImportError as error:
        install = "pip install 'odefit[explain]'"
        raise CommandError(BAD_REQUEST, f"the package {error.name} is missing; install it with: {install}") from None
    try:
        explanation = explain_result(problem, found, degree=degree)
    except ValueError as error:
        raise CommandError(BAD_REQUEST, f"{result} cannot be explained: {error}") from None
    except FitError as error:
        raise CommandError(FAILED, f"the equations cannot be fitted: {error}") from None
    _print(explanation)
    if out is not None:
        out.write_text(json.dumps(explanation.request, indent=2) + "\n")


def _print(found: Explanation) -> None:
    for output, equation in found.equations.items():
        OUT.print(f"{output} = {equation}", markup=False, highlight=False, soft_wrap=True)
    for name, terms in found.terms.items():
        for number, term in enumerate(terms):
            estimate = found.result.parameters[found.coefficients[name][number]]
            error = "" if estimate.standard_error is None else f" ± {estimate.standard_error:.2g}"
            line = f"  {term} in {name}: {estimate.value:.6g}{error}"
            OUT.print(line, markup=False, highlight=False, soft_wrap=True)
    for label, (equations, network) in (("BIC", found.bic), ("held-out loss", found.held_out)):
        if equations is not None and network is not None:
            line = f"{label:14} {equations:.4g} with the equations, {network:.4g} with the networks"
            OUT.print(line, markup=False, highlight=False, soft_wrap=True)
