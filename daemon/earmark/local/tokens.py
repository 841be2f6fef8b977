"""`earmark tokens`: who may ask the HTTP API, and for what."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from earmark.api.tokens import Token, Tokens
from earmark.hits.text import shown
from earmark.local.desk import opened
from earmark.settings import Settings


def add_token(name: str, *, scopes: Sequence[str], days: int | None, settings: Settings) -> int:
    """The token alone to standard output, so that it can be taken from there; that it is not shown again, to standard error."""
    with opened(None, settings) as pool:
        token = Tokens(pool=pool).add(name, scopes, days=days)
    print(token)
    print("earmark: this is the only time it is shown: keep it where secrets are kept", file=sys.stderr)
    return 0


def list_tokens(*, as_json: bool, settings: Settings) -> int:
    now = datetime.now(UTC)
    with opened(None, settings) as pool:
        tokens = Tokens(pool=pool).all()
    if not tokens and not as_json:
        print("no tokens: `earmark tokens add NAME --scope SCOPE` makes one")
    for token in tokens:
        print(json.dumps({**asdict(token), "state": token.state(now)}, ensure_ascii=False, default=str) if as_json else shown(_line(token, now)))
    return 0


def _line(token: Token, now: datetime) -> str:
    used = f"last used {_moment(token.last_used_at)}" if token.last_used_at else "never used"
    parts = {
        "valid": f"until {_moment(token.expires_at)}" if token.expires_at else "without end",
        "revoked": f"revoked {_moment(token.revoked_at)}",
        "expired": f"expired {_moment(token.expires_at)}",
    }
    return f"{token.token_id}  {token.name}  {', '.join(token.scopes)}  {parts[token.state(now)]}, {used}"


def _moment(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}Z" if moment else ""


def revoke_token(name: str, *, settings: Settings) -> int:
    with opened(None, settings) as pool:
        token = Tokens(pool=pool).revoke(name)
    print(shown(f"{token.name} ({token.token_id}) is revoked"))
    return 0
