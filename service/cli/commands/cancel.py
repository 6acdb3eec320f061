"""`odefit cancel`: cancel a fit of a service."""

from __future__ import annotations

from service.cli.consoles import OUT
from service.cli.remote import DEFAULT_URL, FitId, Url, remote


def cancel(fit_id: FitId, url: Url = DEFAULT_URL) -> None:
    """Cancel a fit of a service; its best point so far is kept."""
    with remote(url) as client:
        fit = client.get(fit_id).cancel()
    text = "cancelled" if fit.status == "cancelled" else "cancelling"
    OUT.print(f"{fit.id}  {text}", markup=False, highlight=False, soft_wrap=True)
