"""Bucket and catalogue compared: nightly, and when somebody asks. What events forgot is put right.

A comparison changes no recording. It says of which objects there is news, and whoever takes those up asks the bucket for
each. The listing and the rows come in the order of the keys' bytes, a page at a time, whatever the bucket holds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol

import structlog

from earmark.control.catalogue_objects import CHANNEL, kind_of
from earmark.errors import AwsRefused, Transient
from earmark.postgres import Connection, Pool, statement, transaction
from earmark.settings import Catalogue
from earmark.stocking.bucket import S3, Bucket, Listed

#: Beyond every key.
_END: Final = chr(0x10FFFF)
#: Rows of objects that are gone are kept for events that come late.
_GONE_KEPT: Final = "7 days"
_KIND: Final = "stock"


class Meter(Protocol):
    """What is counted: `telemetry`."""

    def reconciled(self, result: Literal["new", "changed", "gone", "refused", "failed"], count: int = 1) -> None: ...


@dataclass(kw_only=True)
class Compared:
    """What a comparison found, in objects."""

    objects: int = 0
    new: int = 0
    changed: int = 0
    gone: int = 0
    #: Why what is gone stays, in one sentence; empty: it does not.
    refused: str = ""


#: Told of each difference: which, and of which key.
Tell = Callable[[Literal["new", "changed", "gone"], str], object]


class Comparison:
    """Of `catalogue.place` with the rows of its objects."""

    def __init__(self, *, pool: Pool, s3: S3, settings: Catalogue, meter: Meter | None = None) -> None:
        self._pool = pool
        self._bucket = Bucket(s3=s3, place=settings.place)
        self._settings = settings
        self._meter = meter
        self._log = structlog.get_logger()

    def nightly(self) -> Compared | None:
        """In its turn: once after `catalogue.reconcile_hour`, and at once where none was ever made. None if it is not its turn.

        Raises AwsUnavailable, AwsRefused or DatabaseUnavailable: it is tried again in a while.
        """
        with transaction(self._pool) as connection:
            row = connection.execute(_TURN, {"kind": f"{_KIND} {self._bucket.place}", "hour": self._settings.reconcile_hour}).fetchone()
        if row is None:
            return None
        try:
            return self.compare()
        except (Transient, AwsRefused):
            with transaction(self._pool) as connection:  # in its next round, not only tomorrow
                connection.execute(_LATER, {"kind": f"{_KIND} {self._bucket.place}", "hour": self._settings.reconcile_hour})
            if self._meter:
                self._meter.reconciled("failed")
            raise

    def compare(self, *, dry_run: bool = False, retry: bool = False, tell: Tell = lambda *_: None) -> Compared:
        """All of it. `dry_run`: nothing is put right; `retry`: what was rejected is tried again."""
        found = Compared()
        with statement(self._pool) as connection:
            began: datetime = next(iter(connection.execute("select now()")))[0]
        after = ""
        for page in self._bucket.pages():
            last = page[-1].key if page else _END
            self._compare_page(page, after, last, began, found, dry_run=dry_run, tell=tell)
            after = last
        self._compare_page([], after, _END, began, found, dry_run=dry_run, tell=tell)
        self._compare_elsewhere(began, found, dry_run=dry_run, tell=tell)
        self._decide(found, began, dry_run=dry_run, retry=retry)
        if not dry_run:
            self._told(found)
        return found

    def _compare_page(self, page: Sequence[Listed], after: str, last: str, began: datetime, found: Compared, *, dry_run: bool, tell: Tell) -> None:
        """The rows with keys beyond `after`, up to `last`, and the objects of a page."""
        listed = [(entry, kind) for entry in page if (kind := kind_of(entry.key.removeprefix(self._bucket.prefix)))]
        found.objects += len(listed)
        parameters: dict[str, Any] = {
            "bucket": self._bucket.name,
            "prefix": self._bucket.prefix,
            "after": after,
            "last": last,
            "began": began,
            "keys": [entry.key for entry, _ in listed],
            "etags": [entry.etag for entry, _ in listed],
            "kinds": [kind for _, kind in listed],
        }
        with transaction(self._pool) as connection:
            differing = connection.execute(_DIFFERING, parameters).fetchall()
            missing = [key for (key,) in connection.execute(_MISSING, parameters)]
            if not dry_run:
                connection.execute(_TAKE_UP, {**parameters, "differing": [key for key, _ in differing]})
                connection.execute(_UNLISTED, {**parameters, "missing": missing})
                if differing:
                    _notify(connection)
        for key, known in differing:
            found.changed += known
            found.new += not known
            tell("changed" if known else "new", key)
        self._gone(missing, found, tell)

    def _compare_elsewhere(self, began: datetime, found: Compared, *, dry_run: bool, tell: Tell) -> None:
        """What lay in another place, when the settings named that."""
        parameters = {"bucket": self._bucket.name, "prefix": self._bucket.prefix, "began": began}
        with transaction(self._pool) as connection:
            missing = [key for (key,) in connection.execute(_ELSEWHERE, parameters)]
            if missing and not dry_run:
                connection.execute(_UNLISTED_ELSEWHERE, parameters)
        self._gone(missing, found, tell)

    def _gone(self, missing: Sequence[str], found: Compared, tell: Tell) -> None:
        for key in missing:
            found.gone += 1
            tell("gone", key)

    def _decide(self, found: Compared, began: datetime, *, dry_run: bool, retry: bool) -> None:
        """Whether what the listing lacks is gone; and what else is due by now."""
        share_max = self._settings.remove_share_max
        with transaction(self._pool) as connection:
            known = next(iter(connection.execute("select count(*) from catalogue_object where state <> 'gone'")))[0]
            if found.gone and share_max < 1 and (found.objects == 0 or found.gone > max(1, share_max * known)):
                what = "its listing is empty" if found.objects == 0 else f"its listing lacks {found.gone:,} of the {known:,} objects that it had"
                found.refused = (
                    f"nothing is removed from the catalogue: {self._bucket.place} looks emptied, as {what}, and catalogue.remove_share_max is {share_max:g}; "
                    "if that is meant, run `EARMARK_CATALOGUE__REMOVE_SHARE_MAX=1 earmark catalogue sync`"
                )
            if dry_run:
                return
            if found.refused:
                connection.execute("update catalogue_object set unlisted_at = null where unlisted_at = %s", [began])
            else:
                connection.execute(_TAKE_UP_UNLISTED, {"began": began})
            connection.execute(_OWED, {"retry": retry})
            connection.execute("delete from catalogue_object where state = 'gone' and due_at is null and done_at < now() - %s::interval", [_GONE_KEPT])
            _notify(connection)

    def _told(self, found: Compared) -> None:
        if self._meter:
            self._meter.reconciled("new", found.new)
            self._meter.reconciled("changed", found.changed)
            self._meter.reconciled("gone", 0 if found.refused else found.gone)
            self._meter.reconciled("refused", 1 if found.refused else 0)
        if found.refused:
            self._log.error("catalogue.removal_refused", reason=found.refused)
        self._log.info("catalogue.compared", place=self._bucket.place, objects=found.objects, new=found.new, changed=found.changed, gone=found.gone)


def _notify(connection: Connection) -> None:
    connection.execute("select pg_notify(%s, '')", [CHANNEL])


#: The last time that it was due: today at that hour, or yesterday.
_DUE: Final = "date_trunc('day', now() at time zone 'UTC' - make_interval(hours => %(hour)s)) + make_interval(hours => %(hour)s)"
_TURN: Final = f"""
insert into sweep (kind, swept_at) values (%(kind)s, now())
on conflict (kind) do update set swept_at = now() where sweep.swept_at at time zone 'UTC' < {_DUE}
returning kind"""  # noqa: S608 -- of our own words
_LATER: Final = f"update sweep set swept_at = ({_DUE}) at time zone 'UTC' - interval '1 second' where kind = %(kind)s"  # noqa: S608 -- of our own words

_DIFFERING: Final = """
select l.key, o.key is not null and o.state <> 'gone'
  from unnest(%(keys)s::text[], %(etags)s::text[]) as l (key, etag)
  left join catalogue_object o on o.bucket = %(bucket)s and o.key = l.key
 where o.key is null or (o.etag <> l.etag and (o.due_at is null or not o.look))"""
_TAKE_UP: Final = """
insert into catalogue_object (bucket, key, kind)
select %(bucket)s, key, kind from unnest(%(keys)s::text[], %(kinds)s::text[]) as l (key, kind) where key = any(%(differing)s)
on conflict (bucket, key) do update set look = true, due_at = now(), news = catalogue_object.news + 1, attempts = 0, happened_at = null"""

#: Of the keys of this stretch, those that are thought to be there and are not.
_MISSING: Final = """
select key from catalogue_object
 where bucket = %(bucket)s and key > %(after)s and key <= %(last)s and starts_with(key, %(prefix)s) and state <> 'gone' and not key = any(%(keys)s)
   and not (state = 'new' and due_at is not null)"""
_UNLISTED: Final = "update catalogue_object set unlisted_at = %(began)s where bucket = %(bucket)s and key = any(%(missing)s)"
_NOT_HERE: Final = "not (bucket = %(bucket)s and starts_with(key, %(prefix)s)) and state <> 'gone'"
_ELSEWHERE: Final = f"select 's3://' || bucket || '/' || key from catalogue_object where {_NOT_HERE}"  # noqa: S608 -- of our own words
_UNLISTED_ELSEWHERE: Final = f"update catalogue_object set unlisted_at = %(began)s where {_NOT_HERE}"  # noqa: S608 -- of our own words
_TAKE_UP_UNLISTED: Final = """
update catalogue_object set unlisted_at = null, look = true, due_at = now(), news = news + 1, attempts = 0, happened_at = null where unlisted_at = %(began)s"""

#: Recordings that somebody took out or wrote over, places that were made free, notices that could not be written; and what is to be tried again.
_OWED: Final = """
update catalogue_object o
   set due_at = now(), news = news + 1, attempts = 0, look = look or %(retry)s, etag = case when %(retry)s and state = 'rejected' then '' else etag end,
       content_sha256 = case when %(retry)s and state = 'rejected' then null else content_sha256 end
 where due_at is null
   and ((track_id is not null and not exists (select from track t where t.track_id = o.track_id and t.content_sha256 = o.content_sha256))
        or (blocked_by is not null and not exists (select from track t where t.track_id = o.blocked_by))
        or noticed <> (state = 'rejected') or (%(retry)s and state = 'rejected'))"""
