"""`earmark catalogue list --rejected` and `earmark catalogue sync`: the bucket whose objects are the catalogue."""

import json
import sys

from earmark.aws import Clients
from earmark.errors import BadSettings
from earmark.hits.text import rfc3339, shown
from earmark.local.desk import opened
from earmark.postgres import Pool, statement
from earmark.settings import Settings
from earmark.stocking.reconcile import Compared, Comparison

_PAGE = 1_000


def list_rejected(*, catalogue: str | None, as_json: bool, settings: Settings) -> int:
    """Each object that is not in the catalogue, or counts for nothing there, with its reasons."""
    with opened(catalogue, settings) as pool:
        after = ("", "")
        while True:
            with statement(pool) as connection:
                rows = connection.execute(
                    f"""select bucket, key, reasons, rejected_at, etag, size from catalogue_object
                         where state = 'rejected' and (bucket, key) > (%s, %s) order by bucket, key limit {_PAGE}""",  # noqa: S608 -- our own number
                    after,
                ).fetchall()
            for bucket, key, reasons, rejected_at, etag, size in rows:
                if as_json:
                    of = {"bucket": bucket, "key": key, "reasons": reasons, "rejected_at": rfc3339(rejected_at), "etag": etag, "size": size}
                    print(json.dumps(of, ensure_ascii=False))
                else:
                    print(shown(f"s3://{bucket}/{key}"), *(f"  {shown(reason)}" for reason in reasons), sep="\n")
            if len(rows) < _PAGE:
                return 0
            after = rows[-1][:2]


def sync(*, catalogue: str | None, dry_run: bool, retry: bool, settings: Settings) -> int:
    """Compare bucket and catalogue now; 1 if what is gone from the bucket was not taken out, because it is too much."""
    if not settings.catalogue.place:
        raise BadSettings("there is no bucket to compare the catalogue with: set catalogue.place to s3://bucket/catalogue/")
    with opened(catalogue, settings) as pool:
        comparison = Comparison(pool=pool, s3=Clients(settings.aws).s3, settings=settings.catalogue)
        found = comparison.compare(dry_run=dry_run, retry=retry, tell=lambda what, key: print(shown(f"{what:<8} {key}")))
        due = 0 if dry_run else _due(pool)
    if found.refused:
        print(f"earmark: {shown(found.refused)}", file=sys.stderr)
    print(_in_words(found, settings.catalogue.place, dry_run=dry_run, due=due))
    return 1 if found.refused else 0


def _in_words(found: Compared, place: str, *, dry_run: bool, due: int) -> str:
    counts = ", ".join(f"{count} {what}" for what, count in (("new", found.new), ("changed", found.changed), ("gone", found.gone)) if count)
    told = f"{place} holds {found.objects} objects of the catalogue: {counts or 'all as they are known'}"
    if dry_run:
        return f"{told}; nothing was changed (--dry-run)"
    return f"{told}; {due} wait for a worker with the role catalogue" if due else told


def _due(pool: Pool) -> int:
    with statement(pool) as connection:
        row = connection.execute("select count(*) from catalogue_object where due_at is not null").fetchone()
    return int(row[0]) if row else 0


def refuse_to_remove(pool: Pool, track_id: str) -> None:
    """Raises BadSettings for a recording that an object is: the bucket is what counts."""
    with statement(pool) as connection:
        row = connection.execute("select 's3://' || bucket || '/' || key from catalogue_object where track_id = %s", [track_id]).fetchone()
    if row:
        raise BadSettings(f"the recording {track_id} is {row[0]}: delete that, and it leaves the catalogue within seconds")
