"""docs/settings.md lists every setting with its default, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from odelib.problem.limits import Limits
from service.settings import ServiceSettings
from worker.settings import WorkerSettings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
FIELDS = {
    f"ODEFIT_{name.upper()}": field
    for settings in (ServiceSettings, WorkerSettings)
    for name, field in settings.model_fields.items()
}


def documented() -> dict[str, str]:
    rows = re.findall(r"^\| `(ODEFIT_\w+)` \| (.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return dict(rows)


def default(field: FieldInfo) -> str:
    value = field.default
    if value in (None, ()):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else f'{value:g}' if isinstance(value, float) else value}`"


def test_the_page_and_the_classes_agree() -> None:
    assert documented() == {name: default(field) for name, field in FIELDS.items()}


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODEFIT_PORT", "9000")
    monkeypatch.setenv("ODEFIT_MAX_STAGES", "7")
    monkeypatch.setenv("ODEFIT_HOST", "")

    settings = ServiceSettings()

    assert (settings.port, settings.limits().stages, settings.host) == (9000, 7, "127.0.0.1")


@pytest.mark.parametrize(("name", "value"), [("ODEFIT_PORT", "many"), ("ODEFIT_MAX_STAGES", "0")])
def test_an_invalid_setting_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError):
        ServiceSettings()


def test_the_defaults_are_the_libraries() -> None:
    assert ServiceSettings().limits() == Limits()


def test_a_key_does_not_show_in_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODEFIT_API_KEY", "secret")

    assert "secret" not in repr(ServiceSettings())
