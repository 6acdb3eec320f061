"""API keys: made, listed, revoked, and looked up by the service. Redis has only their hashes."""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from worker.errors import KeyLimitReached
from worker.settings import WorkerSettings
from worker.store.connection import connect, store_errors
from worker.store.keys import KEYS
from worker.store.scripts import Scripts

Scope = Literal["submit", "read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_PREFIX = "odefit_"  # so that scanners for leaked secrets recognise a key
_BYTES = 32


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key. id: names it in lists, and the owner of its fits.

    per_minute: submissions and simulations within a minute. max_fits: queued and running fits. None: no limit.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: str
    per_minute: int | None = None
    max_fits: int | None = None


class KeyStore:
    """The keys. Every method may raise `StoreUnavailable`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._client = connect(settings.redis_url, retries=1)
        self._scripts = Scripts(self._client)

    def make(
        self, name: str, scopes: tuple[str, ...], *, per_minute: int | None = None, max_fits: int | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key. Returns what is kept of it, and the key itself, which cannot be read again."""
        secret = _PREFIX + secrets.token_urlsafe(_BYTES)
        created_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        key = ApiKey(uuid.uuid4().hex[:12], name, scopes, created_at, per_minute, max_fits)
        with store_errors(), self._client.pipeline(transaction=True) as pipeline:
            pipeline.hset(KEYS["API_KEYS"], key.id, json.dumps(asdict(key) | {"digest": digest_of(secret)}))
            pipeline.hset(KEYS["API_KEY_DIGESTS"], digest_of(secret), key.id)
            pipeline.execute()
        return key, secret

    def list(self) -> list[ApiKey]:
        """Return all keys, oldest first."""
        with store_errors():
            found: Any = self._client.hgetall(KEYS["API_KEYS"])
        return sorted((_key(text) for text in found.values()), key=lambda key: (key.created_at, key.id))

    def revoke(self, key_id: str) -> bool:
        """Remove a key; its fits stay. Returns False if there is none."""
        with store_errors():
            found: Any = self._client.hget(KEYS["API_KEYS"], key_id)
            if found is None:
                return False
            with self._client.pipeline(transaction=True) as pipeline:
                pipeline.hdel(KEYS["API_KEYS"], key_id)
                pipeline.hdel(KEYS["API_KEY_DIGESTS"], json.loads(found)["digest"])
                pipeline.execute()
        return True

    def find(self, digest: str) -> ApiKey | None:
        """Return the key with this digest, None if there is none."""
        with store_errors():
            key_id: Any = self._client.hget(KEYS["API_KEY_DIGESTS"], digest)
            found: Any = self._client.hget(KEYS["API_KEYS"], key_id.decode()) if key_id else None
        return _key(found) if found else None

    def are_any(self) -> bool:
        """Return whether any key exists."""
        with store_errors():
            return bool(self._client.exists(KEYS["API_KEYS"]))

    def admit(self, key_id: str, per_minute: int) -> None:
        """Count a submission or simulation of a key. Raises `KeyLimitReached`."""
        seconds = int(self._scripts.run("admit", key_id, per_minute))
        if seconds:
            raise KeyLimitReached(f"this key may submit {per_minute} fits and simulations a minute", seconds)


def digest_of(secret: str) -> str:
    """Return the hash by which a key is kept. The key has 256 random bits, so that no slow hash is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _key(text: bytes) -> ApiKey:
    fields = json.loads(text)
    return ApiKey(
        fields["id"],
        fields["name"],
        tuple(fields["scopes"]),
        fields["created_at"],
        fields["per_minute"],
        fields["max_fits"],
    )
