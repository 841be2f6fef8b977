"""Who may ask the HTTP API."""

import argparse
from typing import Any

from earmark.commands.adding import command, group
from earmark.settings import Loaded

#: Of `earmark.api.tokens.Scope`.
SCOPES = ("uploads:write", "catalogue:read", "catalogue:delete", "streams:read", "identify")


def add(commands: Any) -> None:
    actions = group(commands, "tokens", "Who may ask the HTTP API (`earmark run --role api`), and for what.")
    made = command(actions, "add", _tokens_add, "Make a token. It is printed once, to standard output; the database keeps its hash.")
    made.add_argument("name", metavar="NAME", help="whose it is: it stands in the access log")
    made.add_argument(
        "--scope", action="append", default=[], dest="scopes", metavar="SCOPE", help=f"what it is good for; may be given again: {', '.join(SCOPES)}"
    )
    made.add_argument("--expires", type=int, metavar="DAYS", help="it holds for so many days (default: until it is revoked)")
    listing = command(actions, "list", _tokens_list, "Every token there ever was: whose, for what, until when, when it was last used.")
    listing.add_argument("--json", action="store_true", help="JSON lines")
    revoke = command(actions, "revoke", _tokens_revoke, "End a token: it is refused from now on.")
    revoke.add_argument("name", metavar="NAME", help="or its id")


def _tokens_add(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.tokens import add_token

    return add_token(arguments.name, scopes=[part for scope in arguments.scopes for part in scope.split(",")], days=arguments.expires, settings=loaded.settings)


def _tokens_list(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.tokens import list_tokens

    return list_tokens(as_json=arguments.json, settings=loaded.settings)


def _tokens_revoke(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.tokens import revoke_token

    return revoke_token(arguments.name, settings=loaded.settings)
