"""Who may ask the API for what: tokens, of which the database has only hashes.

    earmark_ZG9nZm9vZGJhcg_pP3l...43 characters
            |              the secret: 32 random bytes
            the id, no secret: what is looked up, listed and logged

A secret of 256 random bits cannot be guessed, so its SHA-256 is as safe to keep as a slow, salted hash, which is for what
people choose; and it costs a microsecond, so that a flood of wrong tokens costs no more than one of right ones. The id is
looked up, the hash compared in constant time: nothing that is compared byte by byte is of use to who measures it.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, get_args

from earmark.errors import BadSettings
from earmark.hits.text import is_storable, one_line
from earmark.postgres import Pool, statement, transaction

#: What a token may be good for.
Scope: TypeAlias = Literal["uploads:write", "catalogue:read", "catalogue:delete", "streams:read", "identify"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
_PREFIX: Final = "earmark"
_ID_BYTES, _SECRET_BYTES = 9, 32
_TOKEN: Final = re.compile(rf"{_PREFIX}_([A-Za-z0-9]{{12}})_([A-Za-z0-9_-]{{43}})")
_NAME_CHARS_MAX: Final = 100
#: What is compared where there is no such token, so that it takes as long.
_NOTHING: Final = bytes(32)


@dataclass(frozen=True, kw_only=True)
class Token:
    """What is on record of one; the secret is not."""

    token_id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    #: To the minute.
    last_used_at: datetime | None

    def state(self, now: datetime) -> Literal["valid", "revoked", "expired"]:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


_COLUMNS: Final = "token_id, name, scopes, created_at, expires_at, revoked_at, last_used_at"


class Tokens:
    """Those of one database. May be used by many threads."""

    def __init__(self, *, pool: Pool) -> None:
        self._pool = pool

    def add(self, name: str, scopes: Collection[str], *, days: int | None = None) -> str:
        """A new token, which is shown this once. Raises BadSettings for what cannot be one, or a name that is taken."""
        _check(name, scopes, days)
        token_id, secret = _random_id(), secrets.token_urlsafe(_SECRET_BYTES)
        with transaction(self._pool) as connection:
            added = connection.execute(
                """
                insert into api_token (token_id, name, digest, scopes, expires_at) values (%s, %s, %s, %s, now() + make_interval(days => %s))
                on conflict (name) where revoked_at is null do nothing""",
                [token_id, name, _digest(secret), [scope for scope in SCOPES if scope in scopes], days],
            ).rowcount
        if not added:
            raise BadSettings(f"there is a token {_quoted(name)} already: `earmark tokens revoke` ends it, or give this one another name")
        return f"{_PREFIX}_{token_id}_{secret}"

    def all(self) -> list[Token]:
        """Newest first; those that were revoked or have expired too."""
        with statement(self._pool) as connection:
            rows = connection.execute(f"select {_COLUMNS} from api_token order by created_at desc, token_id".encode()).fetchall()  # noqa: S608 - our own names
        return [_token(row) for row in rows]

    def revoke(self, name: str) -> Token:
        """By its name, or its id. It is refused from now on. Raises BadSettings if there is none that holds."""
        with statement(self._pool) as connection:
            row = connection.execute(
                f"update api_token set revoked_at = now() where revoked_at is null and (name = %(name)s or token_id = %(name)s) returning {_COLUMNS}".encode(),  # noqa: S608 - our own names
                {"name": name if is_storable(name) else ""},
            ).fetchone()
        if row is None:
            raise BadSettings(f"there is no token {_quoted(name)} that could be revoked: `earmark tokens list` shows those there are")
        return _token(row)

    def find(self, text: str) -> Token | None:
        """The token that this is, valid or not; None if it is none. Notes that it was used. Raises DatabaseUnavailable."""
        parts = _TOKEN.fullmatch(text)
        if parts is None:
            return None
        token_id, secret = parts.groups()
        with statement(self._pool) as connection:
            row = connection.execute(f"select {_COLUMNS}, digest from api_token where token_id = %s".encode(), [token_id]).fetchone()  # noqa: S608 - our own names
            right = hmac.compare_digest(_digest(secret), row[-1] if row else _NOTHING)
            if row is None or not right:
                return None
            connection.execute(
                "update api_token set last_used_at = now() where token_id = %s and (last_used_at is null or last_used_at < now() - interval '1 minute')",
                [token_id],
            )
        return _token(row)


def _random_id() -> str:
    """Letters and digits alone: a double click takes it whole, and nothing separates it from the secret but the underscore."""
    while True:
        made = secrets.token_urlsafe(_ID_BYTES)
        if made.isalnum():
            return made


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _check(name: str, scopes: Collection[str], days: int | None) -> None:
    if not name.strip() or not name.isprintable() or len(name) > _NAME_CHARS_MAX:
        raise BadSettings(f"{_quoted(name)} is no name for a token: 1 to {_NAME_CHARS_MAX} characters that can be seen")
    if not scopes:
        raise BadSettings(f"a token without a scope may do nothing: give it one or more of {', '.join(SCOPES)}")
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise BadSettings(f"there is no scope {_quoted(unknown[0])}; there is {', '.join(SCOPES)}")
    if days is not None and not 1 <= days <= 3_650:
        raise BadSettings(f"a token holds for 1 to 3650 days, not {days}")


def _quoted(name: str) -> str:
    return repr(one_line(name, _NAME_CHARS_MAX))


def _token(row: Sequence[Any]) -> Token:
    token_id, name, scopes, created_at, expires_at, revoked_at, last_used_at = row[:7]
    return Token(
        token_id=token_id,
        name=name,
        scopes=tuple(scopes),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
        last_used_at=last_used_at,
    )
