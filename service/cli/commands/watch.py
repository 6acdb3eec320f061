"""`odefit watch`: follow a fit of a service to its end."""

from __future__ import annotations

from service.cli.consoles import ERR, OUT
from service.cli.errors import FAILED, INTERRUPTED, SUCCEEDED
from service.cli.remote import DEFAULT_URL, FitId, Url, remote


def watch(fit_id: FitId, url: Url = DEFAULT_URL) -> None:
    """Follow a fit of a service to its end. Ctrl-C leaves it running."""
    import typer

    from service.cli.report.progress_bar import ProgressBar

    status = ""
    try:
        with remote(url) as client, ProgressBar(ERR) as bar:
            for event in client.get(fit_id).events():
                if event.kind == "progress":
                    bar.update(*(event.data[name] for name in ("stage", "step", "steps", "loss", "fraction")))
                elif event.is_last:
                    status = event.data["status"]
                    outcome = event.data.get("outcome")
                    OUT.print(f"{status}{f': {outcome}' if outcome else ''}", markup=False, highlight=False)
    except KeyboardInterrupt:
        ERR.print(f"the fit {fit_id} keeps running", markup=False, highlight=False)
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(SUCCEEDED if status == "succeeded" else FAILED)
