"""What the operator's rules say."""

import argparse
from typing import Any

from earmark.commands.adding import command, group
from earmark.settings import Loaded


def add(commands: Any) -> None:
    actions = group(commands, "policy", "What is to be done about plays: licences, rules, owners' wishes.")
    checking = command(actions, "check", _check, "Is a policy file right? What in it can never come to anything is told.")
    checking.add_argument("file", nargs="?", default="", metavar="FILE", help="default: policy.file of the settings")
    testing = command(actions, "test", _test, "What would a policy file say about a hit, and why does each rule hold or not?")
    testing.add_argument("hit", metavar="HIT", help="the id of a hit on record, a hit's JSON file, or - for standard input")
    testing.add_argument("--file", default="", metavar="FILE", help="default: policy.file of the settings")
    testing.add_argument("--json", action="store_true", help="the decision, and for each licence and rule what does not hold")


def _check(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.policies import check

    return check(arguments.file or loaded.settings.policy.file, settings=loaded.settings)


def _test(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.policies import test

    return test(arguments.hit, file=arguments.file or loaded.settings.policy.file, as_json=arguments.json, settings=loaded.settings)
