"""The settings of the service: environment variables that begin with `ODEFIT_`.

`docs/settings.md` lists them with those of the worker; a test compares the list with the code.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from odelib.problem.limits import Limits

Positive = Annotated[int, Field(ge=1)]
_LIMITS = Limits()
_ORIGIN = re.compile(r"\*|https?://[^/\s,]+")


def _origins(text: Any) -> Any:
    """Split a comma-separated list of origins. Raises `ValueError` if one is not an origin."""
    if not isinstance(text, str):
        return text
    origins = [entry.strip() for entry in text.split(",") if entry.strip()]
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is not an origin such as https://example.org, without a path; or use *")
    return origins


class ServiceSettings(BaseSettings):
    """Settings of the HTTP service. An empty variable counts as unset."""

    model_config = SettingsConfigDict(env_prefix="ODEFIT_", env_ignore_empty=True, frozen=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    api_key: SecretStr | None = None
    keys_required: bool = False
    access_log: bool = False
    # Comma-separated; NoDecode because pydantic-settings would otherwise expect JSON.
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)] = ()

    receive_seconds: Annotated[float, Field(gt=0)] = 30.0
    max_connections: Positive = 2000
    max_received_bytes: Positive = 256 * 2**20

    max_body_bytes: Positive = 16 * 2**20
    max_batch_bytes: Positive = 2**30
    max_batch_series: Positive = 100_000
    max_json_depth: Annotated[int, Field(ge=1, le=500)] = 50
    max_observations: Positive = _LIMITS.observations
    max_states: Positive = _LIMITS.states
    max_unknowns: Positive = _LIMITS.unknowns
    max_weights: Positive = _LIMITS.weights
    max_expression_characters: Positive = _LIMITS.expression_characters
    max_expression_levels: Annotated[int, Field(ge=1, le=500)] = _LIMITS.expression_levels
    max_definition_characters: Positive = _LIMITS.definition_characters
    max_stages: Positive = _LIMITS.stages
    max_knots: Positive = _LIMITS.knots
    max_doses: Positive = _LIMITS.doses
    max_predicted_values: Positive = _LIMITS.predicted_values
    max_names: Positive = _LIMITS.names
    max_labels: Positive = _LIMITS.labels
    max_wait_seconds: Annotated[float, Field(ge=0)] = 60.0

    def limits(self) -> Limits:
        """Return the limits on a request, in the form that the problem language takes."""
        return Limits(
            observations=self.max_observations,
            states=self.max_states,
            unknowns=self.max_unknowns,
            weights=self.max_weights,
            expression_characters=self.max_expression_characters,
            expression_levels=self.max_expression_levels,
            definition_characters=self.max_definition_characters,
            stages=self.max_stages,
            knots=self.max_knots,
            doses=self.max_doses,
            predicted_values=self.max_predicted_values,
            names=self.max_names,
            labels=self.max_labels,
        )


class UnprotectedHost(Exception):
    """The service would be open to anybody on other machines."""


def require_key_beyond_loopback(settings: ServiceSettings) -> None:
    """Raise `UnprotectedHost` if other machines can reach the host and no key is needed."""
    if settings.api_key is None and not settings.keys_required and not is_loopback(settings.host):
        raise UnprotectedHost(
            f"other machines can reach the host {settings.host!r}, and no API key is set; "
            "set ODEFIT_API_KEY, or ODEFIT_KEYS_REQUIRED with keys made by `odefit keys`, or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Return whether `host` is only reachable from this machine; for a name, whether all its addresses are."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found)
