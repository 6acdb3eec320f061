"""Settings that the command line reads from the environment."""

from __future__ import annotations

import pytest

from service.cli.errors import CommandError
from service.cli.options import check_worker_settings, load_settings


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ODEFIT_PORT", "many", "ODEFIT_PORT: must be a whole number"),
        ("ODEFIT_PORT", "70000", "ODEFIT_PORT: must be at most 65535"),
        ("ODEFIT_ACCESS_LOG", "perhaps", "ODEFIT_ACCESS_LOG: must be true or false"),
        ("ODEFIT_LEASE_SECONDS", "long", "ODEFIT_LEASE_SECONDS: must be a number"),
    ],
)
def test_an_invalid_setting_is_named_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(CommandError) as caught:
        load_settings(None, None)

    assert caught.value.message == f"invalid setting {message}"


def test_settings_of_the_worker_are_checked_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODEFIT_MAX_DEATHS", "0")

    with pytest.raises(CommandError, match="invalid setting ODEFIT_MAX_DEATHS: must be at least 1"):
        check_worker_settings()
