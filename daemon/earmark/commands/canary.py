"""A stream of our own through everything, once."""

import argparse
from typing import Any

from earmark.commands.adding import command
from earmark.settings import Loaded


def add(commands: Any) -> None:
    made = command(
        commands,
        "canary",
        _canary,
        "Put a stream with a known recording on air for the daemons of these settings, and say whether it was heard, how soon and how surely: half a minute.",
    )
    made.add_argument("--json", action="store_true", help="one JSON object")


def _canary(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.canary import one_round

    return one_round(as_json=arguments.json, settings=loaded.settings)
