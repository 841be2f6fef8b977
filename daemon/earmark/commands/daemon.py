"""The daemon, and the demonstration of all of it on one machine."""

import argparse
from pathlib import Path
from typing import Any

from earmark.commands.adding import command
from earmark.errors import BadSettings
from earmark.settings import Loaded

#: Of `earmark.service.Role`, which takes long to load.
ROLES = ("streams", "catalogue", "api", "canary")


def add(commands: Any) -> None:
    _add_run(commands)
    _add_demo(commands)
    _add_surroundings(commands)


def _add_run(commands: Any) -> None:
    made = command(commands, "run", _run, "The daemon: claim streams, listen, publish hits.")
    made.add_argument("--role", default="streams", type=_roles, metavar="ROLE[,ROLE]", help=f"one or more of {', '.join(ROLES)} (default: %(default)s)")


def _roles(text: str) -> list[str]:
    roles = [role.strip() for role in text.split(",")]
    if unknown := [role for role in roles if role not in ROLES]:
        raise argparse.ArgumentTypeError(f"there is no role {unknown[0]!r}; there is {', '.join(ROLES)}")
    return roles


def _run(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.service import serve

    return serve(loaded.settings, arguments.role)


def _add_demo(commands: Any) -> None:
    made = command(commands, "demo", _demo, "Everything on one machine, from the event of a stream's start to the hit in S3.")
    made.add_argument("--scenario", choices=["live", "archive", "files", "catalogue"], default="live", help="how the sound comes in (default: %(default)s)")
    made.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    made.add_argument("--kill", action="store_true", help="kill the daemon half-way, start it again, and check that nothing is lost or twice")
    made.add_argument("--music", type=Path, metavar="DIR", help="play these files, 3 %% fast and under speech, instead of generated music")
    made.add_argument(
        "--out", type=Path, default=Path("build/demo"), metavar="DIR", help="where what S3 held and the mixed audio are left (default: %(default)s)"
    )


def _demo(arguments: argparse.Namespace, _loaded: Loaded) -> int:
    if arguments.scenario != "live":
        if arguments.keep or arguments.kill or arguments.music:
            raise BadSettings(f"--keep, --kill and --music belong to the scenario live, not to {arguments.scenario}")
        from earmark.local import scenarios

        run = {"archive": scenarios.run_archive, "files": scenarios.run_files, "catalogue": scenarios.run_catalogue}[arguments.scenario]
        return run(out=arguments.out)
    from earmark.local.demo import run_demo

    return run_demo(keep=arguments.keep, kill=arguments.kill, music=arguments.music, out=arguments.out)


def _add_surroundings(commands: Any) -> None:
    made = command(commands, "surroundings", _surroundings, "What a daemon has around it, for ever: an AWS stand-in, live streams, a catalogue.")
    made.add_argument("--aws", default="127.0.0.1:4566", metavar="ADDRESS:PORT", help="where the stand-in for AWS listens (default: %(default)s)")
    made.add_argument("--origin", default="127.0.0.1:8000", metavar="ADDRESS:PORT", help="where the HLS origin listens (default: %(default)s)")
    made.add_argument("--origin-known-as", default="", metavar="HOST:PORT", help="how the streams' addresses name the origin (default: as it listens)")


def _surroundings(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.on_air import run_surroundings

    return run_surroundings(aws=arguments.aws, origin=arguments.origin, known_as=arguments.origin_known_as, settings=loaded.settings)
