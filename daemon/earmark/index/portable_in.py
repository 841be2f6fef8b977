"""Recordings as they arrive in a database: a batch in one transaction, by the way by which all recordings come (`Tracks.put`).

    put       the recordings of a batch, with all that belongs to one alone; an alias becomes one in the same transaction
    settle    what they share with those before them; and whether they count as compared with the others

What a killed import leaves is whole batches, and pairs or marks of the last one that are lacking; a second one finds what is
there, and puts what is not.

Recordings were compared with the others of the catalogue that they left, and with no others. So they count as compared
only where nothing else is in the one that they come to; else `earmark catalogue duplicates --again` compares them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias

from pydantic import TypeAdapter

from earmark.errors import BadSettings
from earmark.index import aliases, profiles, stops
from earmark.index.catalogue import Added, Prepared, Recording, Tracks, foreseen, prepare
from earmark.index.portable import About, Carried, Tie
from earmark.index.portable_file import Head
from earmark.index.stretches import SharedPassages, lock
from earmark.matching.overlaps import Compared
from earmark.model import Relation
from earmark.postgres import Connection, Pool, limit, statement, transaction
from earmark.track_profile import TrackProfile

#: What becomes of a recording that the catalogue has otherwise: nothing of all is imported; it is replaced; it is left as it is.
Conflicts: TypeAlias = Literal["refuse", "replace", "keep"]
#: `kept`: the catalogue's own was left as it is.
Arrived: TypeAlias = Added | Literal["kept"]

#: Recordings that nobody looks up are not written into a run, from which none is taken, and are put aside: so many postings of them at once.
ASIDE_POSTINGS: Final = 1_000_000
_STATEMENT_S: Final = 600
_PAGE: Final = 5_000
_PROFILE: Final = TypeAdapter(TrackProfile)


@dataclass(kw_only=True, eq=False)
class Arriving:
    """Takes recordings in, in the order of their file.

    Args:
        known: the ids of all that the file has.
    """

    pool: Pool
    head: Head
    conflicts: Conflicts
    known: Collection[str]
    #: The bucket whose objects are this catalogue, and what their keys begin with.
    bucket: str = ""
    prefix: str = ""
    #: Recordings of the catalogue that have an id of the file's, and stay what they are.
    unlike: set[str] = field(default_factory=set)
    #: The catalogue has others than the file's.
    strangers: bool = False
    _newest_no: int = 0

    def begin(self) -> None:
        """Look what is there."""
        self.strangers = bool(self.unlike) or self._others_came()

    # -------------------------------------------------------------------------------------------- recordings

    def put(self, rows: Sequence[Carried]) -> list[Arrived]:
        """In one transaction. Raises BadSettings if one is there otherwise meanwhile, and `conflicts` is "refuse"."""
        prepared = [prepare(Recording(track=r.about.track, peaks=r.peaks, postings=r.postings, content_sha256=r.about.content_sha256)) for r in rows]
        with transaction(self.pool) as connection:
            limit(connection, _STATEMENT_S)
            lock(connection, sorted({name for row in rows for name in _named(row.about)}))
            if connection.execute("select from doc where retired_at is null limit 1").fetchone() is None:
                stops.put(connection, self.head.stopped)  # what is on it has no postings in the file, and would have some that come later
            chosen = self._chosen(connection, prepared)
            outcomes: dict[str, Arrived] = dict.fromkeys((row.about.track.track_id for row in rows), "kept")
            put = Tracks(pool=self.pool).put(connection, chosen, into_run=all(row.about.all_in is None for row in rows))
            outcomes |= {p.track.track_id: outcome for p, outcome in zip(chosen, put, strict=True)}
            for row in rows:
                self._belongings(connection, row.about, outcomes[row.about.track.track_id])
        self.unlike |= {track_id for track_id, outcome in outcomes.items() if outcome == "kept"}
        return [outcomes[row.about.track.track_id] for row in rows]

    def _chosen(self, connection: Connection, prepared: Sequence[Prepared]) -> Sequence[Prepared]:
        """Those that may be written."""
        if self.conflicts == "replace":
            return prepared
        found = foreseen(connection, prepared)
        other = [p.track.track_id for p, outcome in zip(prepared, found, strict=True) if outcome in ("updated", "replaced")]
        if other and self.conflicts == "refuse":
            raise BadSettings(
                f"the recording {other[0]} was added to the catalogue otherwise while this was imported, which has stopped there: "
                "import it again with --replace, or with --keep"
            )
        return [p for p in prepared if p.track.track_id not in other]

    def _belongings(self, connection: Connection, about: About, outcome: Arrived) -> None:
        """What is in other tables, of a recording that was written."""
        track_id = about.track.track_id
        if outcome == "added":
            connection.execute("update track set added_at = %s, changed_at = %s where track_id = %s", [about.added_at, about.changed_at, track_id])
        if outcome in ("added", "replaced", "updated") and about.profile is not None:
            profiles.write(connection, track_id, profile_of(about.profile), content_sha256=about.content_sha256)
        if outcome in ("added", "replaced") and about.alias_of is not None and about.alias_of not in self.unlike:
            numbers = _numbers(connection, _named(about))
            if track_id in numbers and about.alias_of in numbers:
                within = numbers.get(about.all_in) if about.all_in is not None and about.all_in not in self.unlike else None
                aliases.link(connection, numbers[track_id], numbers[about.alias_of], in_no=within)

    # -------------------------------------------------------------------------------------------- what is between them

    def settle(self, batch: Sequence[About]) -> None:
        """Put on record what these share with those before them, where that is not; all of them are written."""
        rows = [about for about in batch if about.track.track_id not in self.unlike]
        ties = {about.track.track_id: [tie for tie in about.ties if tie.other not in self.unlike] for about in rows}
        with statement(self.pool) as connection:
            numbers = _numbers(connection, {*ties, *(tie.other for some in ties.values() for tie in some)})
            there = _pairs(connection, [numbers[track_id] for track_id, some in ties.items() if some and track_id in numbers])
        passages = SharedPassages(pool=self.pool)
        for track_id, some in ties.items():
            number = numbers.get(track_id)
            lacking = [_relation(tie, numbers[tie.other]) for tie in some if tie.other in numbers and (number, numbers[tie.other]) not in there]
            if number is not None and lacking:
                passages.put(number, lacking, compared=False)
        self._adopt(rows)
        self._mark(rows)

    def _adopt(self, rows: Sequence[About]) -> None:
        """Recordings that are objects of this catalogue's bucket are known as those, unless something else is on record of either."""
        ours = [a for a in rows if a.stocked is not None and self.bucket == a.stocked.bucket and a.stocked.key.startswith(self.prefix)]
        with transaction(self.pool) as connection:
            for about in ours:
                # By two statements, as it is written of an object that was taken up: there is a trigger on the second.
                columns = {**asdict(about.stocked), "content": about.content_sha256, "track_id": about.track.track_id} if about.stocked else {}
                if connection.execute(_ADOPT, columns).rowcount:
                    connection.execute("update catalogue_object set track_id = %(track_id)s where (bucket, key) = (%(bucket)s, %(key)s)", columns)

    def _mark(self, rows: Sequence[About]) -> None:
        # After those rows are committed: who adds a recording that is not seen here yet compares it with them when that is written.
        self.strangers = self.strangers or self._others_came()
        if self.strangers:
            return
        with transaction(self.pool) as connection:
            for column, done in (("compared_no", [r for r in rows if r.compared]), ("aligned_no", [r for r in rows if r.aligned])):
                connection.execute(
                    f"update track set {column} = track_no where track_id = any(%s) and {column} is distinct from track_no",
                    [[about.track.track_id for about in done]],
                )

    def _others_came(self) -> bool:
        """Whether there are recordings that the file does not have, among those that are newer than the ones seen before."""
        while True:
            with statement(self.pool) as connection:
                rows = connection.execute(
                    "select track_no, track_id from track where track_no > %s order by track_no limit %s", [self._newest_no, _PAGE]
                ).fetchall()
            if any(track_id not in self.known for _, track_id in rows):
                return True
            if not rows:
                return False
            self._newest_no = rows[-1][0]


_ADOPT: Final = """
insert into catalogue_object as o (bucket, key, kind, due_at, look, state, etag, size, content_sha256, tags, done_at)
select %(bucket)s, %(key)s, 'audio', null, false, 'kept', %(etag)s, %(size)s, content_sha256, %(tags)s::jsonb, now()
from track where track_id = %(track_id)s and content_sha256 = %(content)s and not exists (select from catalogue_object where track_id = %(track_id)s)
on conflict (bucket, key) do update
set due_at = null, look = false, state = 'kept', etag = excluded.etag, size = excluded.size, content_sha256 = excluded.content_sha256, tags = excluded.tags,
    done_at = now(), news = o.news + 1, attempts = 0, last_error = '', reasons = '{}', rejected_at = null, blocked_by = null
where o.track_id is null and o.etag in ('', excluded.etag) and o.state in ('new', 'rejected')
"""


def profile_of(text: str) -> TrackProfile:
    """A profile as it was written. Raises ValueError for what is none; measures that are not known here are passed over."""
    return _PROFILE.validate_json(text)


def _named(about: About) -> list[str]:
    return [name for name in (about.track.track_id, about.alias_of, about.all_in) if name is not None]


def _numbers(connection: Connection, track_ids: Collection[str]) -> dict[str, int]:
    return dict(connection.execute("select track_id, track_no from track where track_id = any(%s)", [list(track_ids)]).fetchall())


def _pairs(connection: Connection, numbers: Sequence[int]) -> set[tuple[int, int]]:
    """Pairs of these that are on record, from either side."""
    rows = connection.execute(
        """select track_no, other_no from shared_passage where track_no = any(%(numbers)s)
           union select other_no, track_no from shared_passage where other_no = any(%(numbers)s)
           union select one_no, other_no from overlap where one_no = any(%(numbers)s)
           union select other_no, one_no from overlap where other_no = any(%(numbers)s)""",
        {"numbers": list(numbers)},
    )
    return {(one, other) for one, other in rows.fetchall()}


def _relation(tie: Tie, other_no: int) -> Relation:
    seen: Mapping[str, Any] = {
        "other_no": other_no,
        "version": tie.version,
        "evidence_nats": tie.evidence_nats,
        "own": tie.own,
        "others": tie.others,
    }
    return Relation(**seen) if tie.overlap is None else Compared(**seen, overlap=tie.overlap)
