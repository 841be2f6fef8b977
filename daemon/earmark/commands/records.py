"""What is on record: streams, plays, hits, and what still has to leave."""

import argparse
from pathlib import Path
from typing import Any

from earmark.commands import reporting
from earmark.commands.adding import command, group, identifier
from earmark.errors import BadSettings
from earmark.settings import Loaded

#: Of `earmark.control.overview.Which`, which takes long to load.
STATES = ("wanted", "running", "quarantined", "ended", "trouble")
#: Between two looks of `--watch`.
EVERY_S = 2.0


def add(commands: Any) -> None:
    reporting.add(commands)
    _add_streams(commands)
    _add_hits(commands)
    _add_outbox(commands)


def _add_streams(commands: Any) -> None:
    actions = group(commands, "streams", "Who listens to what.")
    listing = command(actions, "list", _streams_list, "Streams with owner, lag, coverage, an estimate of what they cost, and last error.")
    listing.add_argument("--json", action="store_true", help="JSON lines; with --watch one for each look")
    listing.add_argument("--all", action="store_true", help="ended ones too")
    listing.add_argument("--state", type=_states, default=(), metavar="STATE[,STATE]", help=f"only those: {', '.join(STATES)}")
    listing.add_argument("--channel", type=identifier, default="", metavar="TEXT", help="only those with this in their channel's name or ARN")
    listing.add_argument("--watch", action="store_true", help="the fleet and its streams, trouble first, again and again until Ctrl-C")
    listing.add_argument("--interval", type=_seconds, metavar="S", help="with --watch: seconds between two looks, 0.2 to 3600 (default: 2)")
    adding = command(
        actions, "add", _streams_add, "Listen to a stream all the time: HLS of any origin, a live playlist in S3, or a radio station. Safe to run again."
    )
    adding.add_argument("url", metavar="URL", help="https://, http:// or s3://bucket/path/index.m3u8")
    adding.add_argument("--name", required=True, help="what its sessions are called, before the date")
    adding.add_argument("--kind", choices=["hls", "radio", "s3"], help="default: found out by looking")
    adding.add_argument("--tag", action="extend", nargs="+", default=[], metavar="KEY=VALUE", help="copied into every hit")
    stopping = command(
        actions, "stop", _streams_stop, "Listen no more: to a stream that was added, by its name, or to the session with this id. Safe to run again."
    )
    stopping.add_argument("which", type=identifier, metavar="NAME|ID")
    release = command(actions, "release", _streams_release, "End a stream's quarantine: it is listened to again.")
    forgetting = command(
        actions, "forget", _streams_forget, "Remove everything about a stream that has ended, from the database and from S3; safe to run again."
    )
    for made in (release, forgetting):
        made.add_argument("stream_id", type=identifier, metavar="ID")


def _states(text: str) -> tuple[str, ...]:
    states = tuple(state.strip() for state in text.split(","))
    if unknown := [state for state in states if state not in STATES]:
        raise argparse.ArgumentTypeError(f"there is no state {unknown[0]!r}; there is {', '.join(STATES)}")
    return states


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.2 <= seconds <= 3_600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds between 0.2 and 3600")
    return seconds


def _streams_list(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.control.overview import Wanted

    wanted = Wanted(which=arguments.state, channel=arguments.channel, ended=arguments.all)
    if arguments.watch:
        from earmark.local.overview import watch_streams

        return watch_streams(wanted, every_s=arguments.interval or EVERY_S, as_json=arguments.json, settings=loaded.settings)
    if arguments.interval is not None:
        raise BadSettings("--interval goes with --watch")
    from earmark.local.records import list_streams

    return list_streams(wanted, as_json=arguments.json, settings=loaded.settings)


def _streams_add(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.registering import add_stream

    return add_stream(arguments.url, name=arguments.name, kind=arguments.kind or "", tags=arguments.tag, settings=loaded.settings)


def _streams_stop(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.registering import stop_stream

    return stop_stream(arguments.which, settings=loaded.settings)


def _streams_release(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import release_stream

    return release_stream(arguments.stream_id, settings=loaded.settings)


def _streams_forget(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import forget_stream

    return forget_stream(arguments.stream_id, settings=loaded.settings)


def _add_hits(commands: Any) -> None:
    actions = group(commands, "hits", "Single hits.")
    showing = command(actions, "show", _hits_show, "A hit in its newest revision: what was heard, where, how sure that is, by which trace the log has it.")
    showing.add_argument("hit_id", type=identifier, metavar="ID")
    showing.add_argument("--json", action="store_true", help="the document as it lies in S3")
    explain = command(actions, "explain", _hits_explain, "What proves a hit: its line, its histogram of coincidences, its matched peaks.")
    explain.add_argument("hit_id", type=identifier, metavar="ID")
    explain.add_argument("--json", action="store_true", help="the evidence as it lies in S3")
    explain.add_argument("--svg", type=Path, metavar="FILE", help="write the picture there, as it lies in S3")
    verify = command(actions, "verify", _hits_verify, "Compute a hit's match again from its evidence: 0 if it holds, 1 if it does not.")
    verify.add_argument("hit_id", type=identifier, metavar="ID")
    verify.add_argument("--json", action="store_true", help="checksums, scores and verdict")
    send = command(actions, "send", _hits_send, "Send a hit to the webhook or the event bus now, whatever their mode: to see that it arrives.")
    send.add_argument("hit_id", type=identifier, metavar="ID")
    send.add_argument("--to", choices=("webhook", "eventbridge"), required=True)


def _hits_send(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.sending import send_hit

    return send_hit(arguments.hit_id, to=arguments.to, settings=loaded.settings)


def _hits_show(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import show_hit

    return show_hit(arguments.hit_id, as_json=arguments.json, settings=loaded.settings)


def _hits_explain(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.proof import explain_hit

    return explain_hit(arguments.hit_id, as_json=arguments.json, svg=arguments.svg, settings=loaded.settings)


def _hits_verify(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.proof import verify_hit

    return verify_hit(arguments.hit_id, as_json=arguments.json, settings=loaded.settings)


def _add_outbox(commands: Any) -> None:
    actions = group(commands, "outbox", "What still has to leave for S3 and SNS.")
    command(actions, "list", _outbox_list, "What waits, and what was given up, with the reason.")
    command(actions, "retry", _outbox_retry, "Try all given-up rows again.")


def _outbox_list(_arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import list_outbox

    return list_outbox(settings=loaded.settings)


def _outbox_retry(_arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import retry_dead

    return retry_dead(settings=loaded.settings)
