"""What was heard, for whoever has to read it, pay for it, or cut it out: of one stream, or of all in a period."""

import argparse
from typing import Any, get_args

from earmark.commands.adding import command, identifier
from earmark.errors import BadSettings
from earmark.settings import Loaded, Settings

#: Of one stream; the last four are its cut list.
OF_ONE = ("text", "json", "csv", "html", "mail")
CUTS = ("cuts", "ffmpeg", "mediaconvert", "edl")
ACROSS = ("text", "json", "csv", "jsonl", "soundexchange")


def add(commands: Any) -> None:
    made = command(
        commands,
        "report",
        _report,
        "Plays and coverage of one stream, or of all in a period; and what of a stream its recording is to be published without.",
    )
    made.add_argument("stream_id", type=identifier, nargs="?", metavar="STREAM", help="one stream; without it a report across streams")
    made.add_argument(
        "--format",
        choices=dict.fromkeys((*OF_ONE, *CUTS, *ACROSS)),
        default="text",
        help=f"of one stream: {', '.join(OF_ONE)}, and its cut list: {', '.join(CUTS)}; across streams: {', '.join(ACROSS)} (default: text)",
    )
    made.add_argument(
        "--with-clips", action="store_true", help="with html: the clips of its plays in the page itself, beside the same seconds of the recording"
    )
    across = made.add_argument_group("across streams")
    across.add_argument("--since", metavar="TIME", help="a day (2026-11-01), a moment (2026-11-01T12:00:00Z) or how long ago (7d, 36h)")
    across.add_argument("--until", metavar="TIME", help="the same; a day is the last one, a moment is no part of it; default: now")
    across.add_argument(
        "--channel", type=identifier, default="", metavar="PATTERN", help="only channels (or streams) of this name, ARN or id; * and ? as in a shell"
    )
    across.add_argument("--time-zone", metavar="ZONE", help="whose days are meant, as in Europe/Berlin (default: UTC)")
    across.add_argument("--listeners", type=_listeners, metavar="N", help="with soundexchange: how many listened to each play, on average")
    cutting = made.add_argument_group("cut lists")
    cutting.add_argument("--actions", type=_actions, metavar="ACTION[,ACTION]", help="plays whose policy says one of these (default: cuts.actions)")
    cutting.add_argument(
        "--offset", metavar="S|TIME", help="where in the stream the recording begins that is to be cut: a second, or a moment on the wall (default: 0)"
    )
    cutting.add_argument("--fps", metavar="RATE", help="frames per second of the recording, with mediaconvert and edl: 25, 29.97, 30000/1001")


def _listeners(text: str) -> float:
    try:
        listeners = float(text)
    except ValueError:
        listeners = -1.0
    if not 0 <= listeners <= 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of listeners")
    return listeners


def _actions(text: str) -> tuple[str, ...]:
    from earmark.hits.rights import Action

    known = get_args(Action)
    actions = tuple(dict.fromkeys(action.strip() for action in text.split(",")))
    if unknown := [action for action in actions if action not in known]:
        raise argparse.ArgumentTypeError(f"there is no action {unknown[0]!r}; there is {', '.join(known)}")
    return actions


def _report(arguments: argparse.Namespace, loaded: Loaded) -> int:
    layout, settings = arguments.format, loaded.settings
    across = {"--since": arguments.since, "--until": arguments.until, "--channel": arguments.channel}
    if arguments.stream_id is not None:
        _refuse(across | {"--time-zone": arguments.time_zone}, "of many streams: leave STREAM out")
        if layout not in (*OF_ONE, *CUTS):
            raise BadSettings(f"--format {layout} is across streams: name them by --since, --until or --channel (--channel {arguments.stream_id})")
    elif layout in CUTS:
        raise BadSettings(f"--format {layout} is of one stream: name it (`earmark streams list --all` shows them)")
    elif layout not in ACROSS:
        raise BadSettings(f"--format {layout} is of one stream: name it; across streams there is {', '.join(ACROSS)}")
    elif not any(across.values()):
        raise BadSettings("name a stream, or what a report across streams is of: --since, --until, --channel")
    if layout not in CUTS:
        _refuse({"--actions": arguments.actions, "--offset": arguments.offset}, f"for cut lists: --format {', '.join(CUTS)}")
    if layout not in ("mediaconvert", "edl"):
        _refuse({"--fps": arguments.fps}, "for --format mediaconvert and edl")
    if layout != "soundexchange":
        _refuse({"--listeners": arguments.listeners}, "for --format soundexchange")
    _refuse({"--with-clips": (arguments.with_clips and layout != "html") or None}, "for --format html")
    if layout in CUTS:
        from earmark.local.cutting import cut_list

        return cut_list(arguments.stream_id, layout=layout, actions=arguments.actions, offset=arguments.offset, fps=arguments.fps, settings=settings)
    if arguments.stream_id is None:
        from earmark.local.reporting import across_streams

        period = {name: getattr(arguments, name) for name in ("since", "until", "channel", "time_zone", "listeners")}
        return across_streams(**period, layout=layout, settings=settings)
    return _of_one(arguments, settings)


def _of_one(arguments: argparse.Namespace, settings: Settings) -> int:
    if arguments.format == "html":
        from earmark.local.report_page import report_page

        return report_page(arguments.stream_id, with_clips=arguments.with_clips, settings=settings)
    from earmark.local.records import report

    return report(arguments.stream_id, layout=arguments.format, settings=settings)


def _refuse(given: dict[str, Any], what: str) -> None:
    """Raises BadSettings for an option that goes with something else."""
    for option, value in given.items():
        if value not in (None, ""):
            raise BadSettings(f"{option} is {what}")
