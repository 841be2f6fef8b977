"""`earmark report`, `streams list`, `hits explain`, `outbox` and `db`: what the database has, for people."""

import json
import sys
from dataclasses import asdict

from earmark import postgres
from earmark.control import listing
from earmark.control.leases import Leases
from earmark.errors import StreamNotFound
from earmark.hits import evidence, outbox
from earmark.hits import report as reports
from earmark.hits.text import clock_time, dumps, one_line
from earmark.index.catalogue import Tracks
from earmark.local.desk import opened
from earmark.model import EIGHTHS
from earmark.settings import Settings

_LAYOUTS = {"text": reports.text, "json": reports.json, "csv": reports.cue_sheet_csv, "html": reports.html}


def report(stream_id: str, *, layout: str, settings: Settings) -> int:
    with opened(None, settings) as pool, postgres.transaction(pool) as connection:
        found = reports.load(connection, stream_id)
    sys.stdout.write(_LAYOUTS[layout](found))
    return 0


def explain_hit(hit_id: str, *, as_json: bool, settings: Settings) -> int:
    with opened(None, settings) as pool, postgres.transaction(pool) as connection:
        hit, proof = evidence.load(connection, hit_id)
    sys.stdout.write(dumps(proof) + "\n" if as_json else evidence.text(hit, proof))
    return 0


def list_streams(*, as_json: bool, ended: bool, settings: Settings) -> int:
    with opened(None, settings) as pool:
        rows = listing.streams(pool, ended=ended)
    if not rows and not as_json:
        print("no streams" if ended else "no streams now: --all shows those that have ended")
    for row in rows:
        print(json.dumps(asdict(row), ensure_ascii=False, default=str) if as_json else _line(row))
    return 0


def _line(row: listing.Listed) -> str:
    total_s = row.heard_s + row.gap_s
    heard = f"heard {row.heard_s / total_s:.1%} of {clock_time(total_s)}" if total_s else "nothing heard yet"
    lag = f", {row.heard_s_ago:.0f} s ago" if row.heard_s_ago is not None and row.state == "running" else ""
    parts = (
        f"{row.stream_id}  {row.state}",
        row.end_reason,
        row.owner,
        heard + lag,
        f"playing {', '.join(row.playing)}" if row.playing else "",
        row.last_error,
    )
    return "  ".join(part for part in parts if part)


def release_stream(stream_id: str, *, settings: Settings) -> int:
    with opened(None, settings) as pool:
        if not Leases(pool=pool, worker="desk", settings=settings.leases).end_quarantine(stream_id):
            raise StreamNotFound(f"the stream {one_line(stream_id)!r} is not in quarantine: `earmark streams list` shows those that are")
    print(f"{stream_id} is no longer in quarantine")
    return 0


def list_outbox(*, settings: Settings) -> int:
    with opened(None, settings) as pool:
        rows = [("waits   ", row) for row in outbox.list_waiting(pool)] + [("given up", row) for row in outbox.list_dead(pool)]
    for what, row in rows:
        print(f"{row.outbox_id}  {what}  {row.target}  {row.key}  {row.attempts} attempts  {row.last_error}".rstrip())
    if not rows:
        print("nothing waits to leave, and nothing was given up")
    return 0


def retry_dead(*, settings: Settings) -> int:
    with opened(None, settings) as pool:
        print(f"{outbox.retry(pool)} rows will be tried again")
    return 0


def migrate_database(*, settings: Settings) -> int:
    dsn = settings.database.dsn.get_secret_value()
    if not dsn:
        with opened(None, settings):
            print("the desk's own database is up to date")
        return 0
    done = postgres.migrate(dsn, connect_timeout_s=settings.database.connect_timeout_s)
    print(f"applied {', '.join(done)}" if done else "nothing to do: the schema is up to date")
    return 0


def database_status(*, settings: Settings) -> int:
    with opened(None, settings, fill=False) as pool:
        schema, found = postgres.status(pool), Tracks(pool=pool).statistics()
    per_track = f", {found.bytes / found.tracks / 1000:.0f} kB a recording" if found.tracks else ""
    print(f"schema        {schema.version:04d} (this Earmark knows {schema.daemon:04d})")
    print(f"fingerprint   {found.fingerprint_version or 'none yet'}, peaks in 1/{EIGHTHS}")
    print(f"recordings    {found.tracks}, {found.seconds / 3600:.2f} h")
    print(f"postings      {found.postings}; {found.unpacked_docs} parts not packed yet, {found.runs} runs")
    print(f"bytes         {found.bytes}{per_track}")
    return 0


def check_database(*, settings: Settings) -> int:
    with opened(None, settings, fill=False) as pool:
        Tracks(pool=pool).check_version()
    print("this database is one that this Earmark may run on")
    return 0
