"""One delivery of a webhook: the message, its signature, and the request to a checked address.

Callers choose the URL, so the request must not reach what only this machine can reach. The host's addresses are
resolved once, all of them are checked, and the connection goes to one of those: another answer of the name server
changes nothing. Redirects are not followed, and proxies of the environment are not used.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import json
import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import urlsplit

_STEP_SECONDS = 10.0  # for a connection, and for each part of a response
_MAX_SECONDS = 20.0  # for a whole delivery
_PREFIX = "whsec_"  # of secrets by the specification, before base64
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class DeliveryFailed(Exception):
    """A delivery was not accepted; the message says why."""


def message_of(fit_id: str, status: str) -> bytes:
    """Return the body."""
    return json.dumps({"id": fit_id, "status": status}).encode()


def headers_of(message_id: str, timestamp: int, body: bytes, secret: str | None) -> dict[str, str]:
    """Return the headers by the Standard Webhooks specification; with a secret they sign id, time and body.

    >>> headers_of("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}',
    ...            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")["webhook-signature"]
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "content-type": "application/json"}
    if secret is not None:
        signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
        digest = hmac.digest(_key(secret), signed, hashlib.sha256)
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def _key(secret: str) -> bytes:
    """Return the key: what follows `whsec_`, decoded, or else the secret itself."""
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except ValueError:
            pass
    return secret.encode()


def deliver(url: str, body: bytes, headers: dict[str, str], *, allow_private: bool) -> None:
    """POST once. Raises `DeliveryFailed` unless the answer is 2xx."""
    parts = urlsplit(url)
    host, is_secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_secure else 80)
    address = checked_address(host, port, allow_private=allow_private)
    connection = _PinnedConnection(host, port, address, is_secure=is_secure)
    timer = threading.Timer(_MAX_SECONDS, connection.abort)
    timer.daemon = True
    timer.start()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, {**headers, "user-agent": "odefit", "connection": "close"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DeliveryFailed(f"{type(error).__name__} at {host}") from None
    finally:
        timer.cancel()
        connection.close()
    if not 200 <= status < 300:
        raise DeliveryFailed(f"{host} answered {status}")


def checked_address(host: str, port: int, *, allow_private: bool) -> str:
    """Resolve a host and return one of its addresses. Raises `DeliveryFailed` if any of them is not public."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise DeliveryFailed(f"the host {host} has no address") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not allow_private and (private := [address for address in addresses if not is_public(address)]):
        raise DeliveryFailed(f"the address {private[0]} of {host} is not public")
    if not addresses:
        raise DeliveryFailed(f"the host {host} has no address")
    return addresses[0]


def is_public(address: str) -> bool:
    """Return whether an IP address is that of a host on the internet, and not within an address of another kind."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(ip.packed[-4:])
        if inner is not None:
            return _is_global(inner)
    return _is_global(ip)


def _is_global(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return ip.is_global and not ip.is_multicast


class _PinnedConnection(http.client.HTTPConnection):
    """A connection to `address`, on which requests and certificates are those of `host`."""

    def __init__(self, host: str, port: int, address: str, *, is_secure: bool) -> None:
        super().__init__(host, port, timeout=_STEP_SECONDS)
        if is_secure:
            self.default_port = 443  # which the header `Host` leaves out
        self._address = address
        self._is_secure = is_secure

    def connect(self) -> None:
        """Connect to the address that was checked."""
        self.sock = socket.create_connection((self._address, self.port), _STEP_SECONDS)
        if self._is_secure:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)

    def abort(self) -> None:
        """End the connection from another thread."""
        if (sock := self.sock) is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
