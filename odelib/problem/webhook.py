"""A webhook: the address that a service calls when the fit has ended."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from odelib.problem.fields import Omittable, Request, Text

MAX_URL = 2_000


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _not_an_address() from None
    is_plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if not is_plain or parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise _not_an_address()
    if parts.username is not None or parts.password is not None:
        raise PydanticCustomError("url", "must not contain a user name or a password; use 'secret'")
    return url


def _not_an_address() -> PydanticCustomError:
    return PydanticCustomError("url", "must be an address such as https://example.org/fits")


class Webhook(Request):
    """Where a service reports the end of the fit. Only a service calls it."""

    url: Annotated[
        Text,
        Field(max_length=MAX_URL, description="An http or https address that is public. Redirects are not followed."),
        AfterValidator(_address),
    ]
    secret: Annotated[
        Omittable[Text],
        Field(
            min_length=1,
            max_length=500,
            description="Signs the message, by the Standard Webhooks specification. It is never returned.",
        ),
    ] = None
