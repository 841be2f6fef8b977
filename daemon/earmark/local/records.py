"""`earmark report`, `streams`, `hits show`, `outbox` and `db`: what the database has, for people."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from earmark import cost, postgres
from earmark.aws import Clients
from earmark.control import forgetting, listing
from earmark.control.leases import Leases
from earmark.control.overview import Wanted
from earmark.errors import BadSettings, SchemaMismatch, StreamNotFound
from earmark.hits import outbox
from earmark.hits.mail import alert, digest
from earmark.hits.mail.letter import Manner
from earmark.hits.proof import evidence
from earmark.hits.record import Place
from earmark.hits.reports import report as reports
from earmark.hits.text import clock_time, counted, dumps, one_line, shown
from earmark.index import beside, integrity, statistics
from earmark.index.slowest import LEAST_S
from earmark.local.desk import opened
from earmark.local.progress import Progress
from earmark.model import EIGHTHS
from earmark.settings import Prices, Settings

_LAYOUTS = {"text": reports.text, "json": reports.json, "csv": reports.cue_sheet_csv}
#: What is wrong is read by people: of more sentences, their number.
SENTENCES_MAX = 20
SLOW_LOOK_UPS_MAX = 3


def report(stream_id: str, *, layout: str, settings: Settings) -> int:
    with opened(None, settings) as pool, postgres.transaction(pool) as connection:
        found = digest.load(connection, stream_id) if layout == "mail" else reports.load(connection, stream_id)
    sys.stdout.write(_as_mail(found, settings) if isinstance(found, digest.Digest) else _LAYOUTS[layout](found))
    return 0


def _as_mail(found: digest.Digest, settings: Settings) -> str:
    place = Place(bucket=settings.results.bucket, prefix=settings.results.prefix, stream_id=found.whole.stream.stream_id)
    manner = _manner(settings, found.whole.stream.started_at)
    return "".join(f"{shown(line)}\n" for line in digest.text(found, place=place, manner=manner).splitlines())


def _manner(settings: Settings, began_at: datetime | None) -> Manner:
    return Manner(zone=settings.alerts.zone, link=settings.alerts.link, began_at=began_at)


def show_hit(hit_id: str, *, as_json: bool, settings: Settings) -> int:
    with opened(None, settings) as pool, postgres.transaction(pool) as connection:
        hit = evidence.hit(connection, hit_id)
        began = connection.execute("select started_at from stream where stream_id = %s", [hit["stream"]["id"]]).fetchone()
    place = Place(bucket=settings.results.bucket, prefix=settings.results.prefix, stream_id=hit["stream"]["id"])
    manner = _manner(settings, began[0] if began else None)
    told = dumps(hit, indent=2) if as_json else "\n".join(shown(line) for line in alert.text(hit, place=place, manner=manner).splitlines())
    sys.stdout.write(told + "\n")
    return 0


def list_streams(wanted: Wanted, *, as_json: bool, settings: Settings) -> int:
    with opened(None, settings) as pool:
        rows = listing.streams(pool, prices=settings.prices, static=settings.streams.static, wanted=wanted)
    if not rows and not as_json:
        asked = " of that state or channel" if wanted.which or wanted.channel else ""
        print(f"no streams{asked}" if wanted.ended else f"no streams now{asked}: --all shows those that have ended")
    for row in rows:
        print(json.dumps(asdict(row), ensure_ascii=False, default=str) if as_json else shown(_line(row)))
    if not as_json and any(row.cost_usd_per_hour for row in rows):
        print(_total(rows, settings.prices))
    return 0


def _line(row: listing.Listed) -> str:
    total_s = row.heard_s + row.gap_s
    heard = f"heard {row.heard_s / total_s:.1%} of {clock_time(total_s)}" if total_s else "nothing heard yet"
    lag = f", {row.heard_s_ago:.0f} s ago" if row.heard_s_ago is not None and row.state == "running" else ""
    always = f"{row.source} at {row.url}{_WANTED_BY[row.wanted_by]}" if row.name else ""
    parts = (
        f"{row.stream_id or row.name}  {row.state}",
        row.end_reason,
        row.owner,
        heard + lag if row.stream_id else "",
        "a canary" if row.canary else "",
        always,
        f"playing {', '.join(row.playing)}" if row.playing else "",
        _hourly(row.cost_usd_per_hour) if row.cost_usd_per_hour else "",
        row.last_error,
    )
    return "  ".join(part for part in parts if part)


_WANTED_BY = {"settings": " (streams.static)", "added": " (added)", "": ""}


def _hourly(one: cost.Cost) -> str:
    unknown = " and ".join(kind for kind in cost.KINDS if getattr(one, kind) is None)
    return f"US$ {one.known:.4f} an hour{f' without {unknown}' if unknown else ''}"


def _total(rows: Sequence[listing.Listed], prices: Prices) -> str:
    """What is listed costs together. Workers without a stream are in no row."""
    costs = [row.cost_usd_per_hour for row in rows if row.cost_usd_per_hour]
    total, workers, partly = cost.together(costs), len({row.owner for row in rows} - {""}), sum(not one.whole for one in costs)
    kinds = ", ".join(f"{kind} {getattr(total, kind):.4f}" for kind in cost.KINDS)
    unknown = f"; not all of {counted(partly, 'stream')} is known yet" if partly else ""
    return (
        f"together US$ {total.known:.4f} an hour ({kinds}), {total.known * cost.HOURS_PER_MONTH / len(costs):.2f} a stream and month: an estimate, "
        f"{counted(len(costs), 'stream')} of {counted(workers, 'worker')} at prices of {prices.as_of}{unknown}"
    )


def release_stream(stream_id: str, *, settings: Settings) -> int:
    with opened(None, settings) as pool:
        if not Leases(pool=pool, worker="desk", settings=settings.leases).end_quarantine(stream_id):
            raise StreamNotFound(f"the stream {one_line(stream_id)!r} is not in quarantine: `earmark streams list` shows those that are")
    print(f"{stream_id} is no longer in quarantine")
    return 0


def forget_stream(stream_id: str, *, settings: Settings) -> int:
    """1 if earlier versions of its objects may be left."""
    place = Place(bucket=settings.results.bucket, prefix=settings.results.prefix, stream_id=stream_id)
    results = forgetting.Results(s3=Clients(settings.aws).s3, bucket=place.bucket, prefix=place.prefix) if place.bucket else None
    with opened(None, settings) as pool:
        forgotten = forgetting.forget(pool, stream_id, results=results)
    rows = [counted(number, _ROWS[table]) for table, number in reversed(list(forgotten.rows.items())) if number]
    objects = [f"{counted(forgotten.erased.objects, 'object')} in {place.uri(place.folder)}"] if forgotten.erased.objects else []
    if rows or objects:
        print(f"{stream_id} is forgotten: {'; '.join(filter(None, [', '.join(rows), *objects]))}")
    else:
        print(f"nothing is on record of {stream_id}, in the database" + (f" or in {place.uri(place.folder)}" if results else ""))
    if forgotten.erased.versions_left:
        print(f"earmark: what the bucket keeps of earlier versions is left: {forgotten.erased.versions_left}", file=sys.stderr)
    return 1 if forgotten.erased.versions_left else 0


_ROWS = {"stream": "session", "play": "play", "kept_block": "kept stretch", "kept_group": "kept moment", "inbox": "segment", "outbox": "unsent document"}


def list_outbox(*, settings: Settings) -> int:
    with opened(None, settings) as pool:
        rows = [("waits   ", row) for row in outbox.list_waiting(pool)] + [("given up", row) for row in outbox.list_dead(pool)]
    for what, row in rows:
        print(shown(f"{row.outbox_id}  {what}  {row.target}  {row.key}  {row.attempts} attempts  {row.last_error}".rstrip()))
    if not rows:
        print("nothing waits to leave, and nothing was given up")
    return 0


def retry_dead(*, settings: Settings) -> int:
    with opened(None, settings) as pool:
        print(f"{outbox.retry(pool)} rows will be tried again")
    return 0


def migrate_database(*, owner: str, settings: Settings) -> int:
    database, dsn = settings.database, settings.database.dsn.get_secret_value()
    if not dsn:
        if owner:
            raise BadSettings("--owner is for a database that others reach: name it in database.dsn, or EARMARK_DATABASE__DSN")
        with opened(None, settings):
            print("the desk's own database is up to date")
        return 0
    _refuse_beside(settings)
    done = postgres.migrate(dsn, connect_timeout_s=database.connect_timeout_s, iam=database.iam, owner=owner)
    print(f"applied {', '.join(done)}" if done else "nothing to do: the schema is up to date")
    return 0


def _refuse_beside(settings: Settings) -> None:
    """A migration is for one set of tables. Raises SchemaMismatch while there is another one beside it."""
    with postgres.open_pool(settings.database, application_name="earmark-desk") as pool:
        schema = postgres.status(pool)
        if not schema.applied or not schema.pending:
            return
        with postgres.statement(pool) as connection:
            there = beside.find(connection)
    if there:
        how = "exchange them first (`earmark catalogue switch`)" if there.kind == "next" else "they are needed to go back"
        raise SchemaMismatch(
            f"{', '.join(schema.pending)} would not reach the catalogue of version {there.version} in the schema {there.schema}: {how}, or give them up "
            "with `earmark catalogue switch --drop`; then migrate"
        )


def database_status(*, as_json: bool, settings: Settings) -> int:
    with opened(None, settings, fill=False) as pool:
        schema, found = postgres.status(pool), statistics.read(pool)
        beside_it = _beside(pool)
    reader = _reader(settings)
    if as_json:
        schema_now = {"version": schema.version, "daemon": schema.daemon}
        whole = {"schema": schema_now, **asdict(found), "bytes": found.bytes, "reader": reader and asdict(reader), "beside": beside_it}
        print(json.dumps(whole, ensure_ascii=False, default=datetime.isoformat))
        return 0
    lines = [("schema", f"{schema.version:04d} (this Earmark knows {schema.daemon:04d})"), *_about_catalogue(found), *_about_server(found)]
    if reader:
        lines.append(("reader", _replication(reader)))
    if beside_it:
        size = _bytes(beside_it["bytes"])
        lines.append(("beside it", f"version {beside_it['version']} in {beside_it['schema']}: {beside_it['tracks']:,} of {found.tracks:,} recordings, {size}"))
    for name, says in lines:
        print(f"{name:<14}{says}")
    return 0


def _beside(pool: postgres.Pool) -> dict[str, Any] | None:
    """The tables of another version of the fingerprint, if there are any."""
    with postgres.transaction(pool) as connection:
        there = beside.find(connection)
        if there is None:
            return None
        tracks, size = beside.progress(connection, there)
    return {"kind": there.kind, "schema": there.schema, "version": there.version, "tracks": tracks, "bytes": size}


def _reader(settings: Settings) -> statistics.Replication | None:
    """Where look-ups go, if that is another server."""
    if not settings.database.read_dsn.get_secret_value():
        return None
    with postgres.open_pool(settings.database, application_name="earmark-desk", reading=True) as pool:
        return statistics.replication(pool)


def _about_catalogue(found: statistics.Statistics) -> Iterator[tuple[str, str]]:
    version = f"version {found.fingerprint_version}, {found.hash_bits}-bit hashes" if found.fingerprint_version else "none yet"
    yield "fingerprint", f"{version}, peaks in 1/{EIGHTHS}"
    yield "recordings", f"{found.tracks:,}, {found.hours:,.2f} h"
    yield "postings", f"{found.postings:,}, of which {found.fresh.postings:,} of {found.fresh.docs} parts are not packed yet"
    kinds = ", ".join(f"{number} {kind}" for kind, number in found.runs.kinds.items())
    yield "runs", f"{found.runs.number} ({kinds}), the largest with {found.runs.largest:,} postings" if kinds else "none"
    if found.merge:
        yield "merge", f"{found.merge.done:.0%} of {found.merge.runs} runs done"
    if found.retired_postings:
        yield "retired", f"{found.retired_postings:,} postings of what was replaced or removed wait to be merged away"
    yield "stop list", f"{found.stop_list.hashes:,} hashes, {found.stop_list.postings_left_out:,} postings left out"
    each = [_bytes(found.bytes)]
    if found.bytes_per_recording is not None:
        each.append(f"{_bytes(found.bytes_per_recording)} a recording")
    if found.bytes_per_posting is not None:
        each.append(f"{found.bytes_per_posting:.2f} bytes a posting")
    yield "on disk", ", ".join(each)
    for name, disk in found.disk.items():
        yield "", f"{name} {_bytes(disk.total)}: tables {_bytes(disk.tables)}, indexes {_bytes(disk.indexes)}, TOAST {_bytes(disk.toast)}"


def _about_server(found: statistics.Statistics) -> Iterator[tuple[str, str]]:
    shares = [f"{share:.1%} of {what}" for share, what in ((found.cache.block, "postings"), (found.cache.doc, "constellations")) if share is not None]
    yield "in memory", f"{' and '.join(shares)} when asked for" if shares else "nothing was asked for yet"
    slow = found.slow_look_ups[:SLOW_LOOK_UPS_MAX]
    for n, of_hour in enumerate(slow):
        yield (
            "" if n else "slowest",
            f"{of_hour.seconds:.3f} s at {of_hour.at:%Y-%m-%d %H:%M:%S %Z}: {of_hour.hashes:,} hashes, {of_hour.postings:,} postings, {of_hour.worker}",
        )
    if not slow:
        yield "slowest", f"no look-up of the last two days took {LEAST_S * 1000:.0f} ms"
    yield "replication", _replication(found.replication)


def _replication(found: statistics.Replication) -> str:
    if not found.standby:
        return "this server is a primary"
    return "a standby that does not say how far behind it is" if found.lag_s is None else f"a standby, {found.lag_s:.1f} s behind"


def _bytes(size: float) -> str:
    for unit, of in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= of:
            return f"{size / of:.1f} {unit}"
    return f"{size:.0f} bytes"


def check_database(*, quick: bool, settings: Settings) -> int:
    wrong: list[str] = []
    more = 0
    with opened(None, settings, fill=False) as pool:
        try:
            with Progress("checking") as progress:
                for sentence in integrity.check(pool, quick=quick, advance=progress.at):
                    if len(wrong) < SENTENCES_MAX:
                        wrong.append(sentence)
                    else:
                        more += 1
        finally:  # what was found is told, whatever ends it
            for sentence in wrong:
                print(sentence)
            if more:
                print(f"and {more} more")
        if not wrong:
            found = statistics.read(pool)
            print(
                f"nothing is wrong with {found.tracks:,} recordings and {found.postings:,} postings" + (", whose rows in runs were not read" if quick else "")
            )
    return 1 if wrong else 0
