"""`odefit show`: a fit of a service, with the report of its result."""

from __future__ import annotations

from service.cli.consoles import ERR, OUT
from service.cli.errors import FAILED, SUCCEEDED
from service.cli.options import PlotPath, ResultPath
from service.cli.remote import DEFAULT_URL, FitId, Url, remote


def show(fit_id: FitId, url: Url = DEFAULT_URL, out: ResultPath = None, plot: PlotPath = None) -> None:
    """Show a fit of a service: its state, or the report of its result."""
    import typer

    from service.cli.files import check_writable
    from service.cli.report.outputs import check_plot_path, write_outputs

    check_writable(out, plot)
    check_plot_path(plot)
    with remote(url) as client:
        fit = client.get(fit_id)
        request = fit.problem()["request"] if "result" in fit.content else {}
    OUT.print(f"{fit.id}  {fit.status}", markup=False, highlight=False, soft_wrap=True)
    if error := fit.content.get("error"):
        ERR.print(f"{error['title']}: {error['detail']}", markup=False, highlight=False)
    if "result" in fit.content:
        write_outputs(OUT, request, fit.content["result"], out, plot)
    elif fit.progress:
        ERR.print("{stage}, step {step} of {steps}, loss {loss:.6g}".format(**fit.progress), highlight=False)
    raise typer.Exit(FAILED if fit.status in ("failed", "cancelled") else SUCCEEDED)
