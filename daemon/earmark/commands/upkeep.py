"""The database and the settings."""

import argparse
import json
from typing import Any

from earmark.commands.adding import command, group
from earmark.settings import Loaded


def add(commands: Any) -> None:
    _add_db(commands)
    _add_config(commands)


def _add_db(commands: Any) -> None:
    actions = group(commands, "db", "The database's schema, its size, and whether it is sound.")
    migrate = command(actions, "migrate", _db_migrate, "Bring the schema up to date; forward only.")
    migrate.add_argument("--owner", metavar="ROLE", default="", help="the role whose everything will be, made where there is none: the daemon's own")
    status = command(actions, "status", _db_status, "Schema, recordings, postings, bytes, merges, slow look-ups and replication.")
    status.add_argument("--json", action="store_true", help="one JSON object")
    check = command(
        actions, "check", _db_check, "May this version run on this database, and is every row of the catalogue what was written? Exit code 1 if not."
    )
    check.add_argument("--quick", action="store_true", help="without the rows of runs, which are most of what there is to read")


def _db_migrate(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import migrate_database

    return migrate_database(owner=arguments.owner, settings=loaded.settings)


def _db_status(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import database_status

    return database_status(as_json=arguments.json, settings=loaded.settings)


def _db_check(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import check_database

    return check_database(quick=arguments.quick, settings=loaded.settings)


def _add_config(commands: Any) -> None:
    actions = group(commands, "config", "The effective settings.")
    command(actions, "check", _config_check, "Are the settings right? Exit code 2 if not.")
    command(actions, "show", _config_show, "Every setting with its value and where it comes from.")


def _config_check(_arguments: argparse.Namespace, loaded: Loaded) -> int:
    where = sorted(set(loaded.origins.values()))
    print(f"the settings are right ({'from ' + ', '.join(where) if where else 'all defaults'})")
    return 0


def _config_show(_arguments: argparse.Namespace, loaded: Loaded) -> int:
    for section, values in loaded.settings.model_dump(mode="json").items():
        print(f"[{section}]")
        for key, value in values.items():
            origin = loaded.origins.get(f"{section}.{key}", "default")
            print(f"{key} = {json.dumps(value)}  # {origin}")
        print()
    return 0
