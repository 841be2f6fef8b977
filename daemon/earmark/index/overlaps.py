"""How recordings lie on one another, on record: a row a pair, written when the second of the two is compared."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from earmark.matching.overlaps import Kind, Overlap, Span
from earmark.postgres import Connection, Pool, statement


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A recording and another one, as the first sees it."""

    one_no: int
    other_no: int
    #: track_ids.
    one: str
    other: str
    overlap: Overlap
    evidence_nats: float
    #: Their ISRCs.
    isrc: tuple[str, ...]
    other_isrc: tuple[str, ...]
    #: Which of the two is an alias of the other, or of the same third one.
    alias: str | None

    @property
    def alike(self) -> bool:
        """One is the other, or an excerpt of it."""
        return self.overlap.kind != "passage"


@dataclass(frozen=True, kw_only=True)
class Described:
    """A recording of the catalogue, as far as it matters to one that may be the same."""

    track_no: int
    track_id: str
    title: str
    isrc: tuple[str, ...]
    #: The recording that it is an alias of.
    of_no: int | None
    #: It has postings: look-ups find it.
    found: bool


_COLUMNS: Final = (
    "p.one_no, p.other_no, one.track_id, other.track_id, p.kind, p.speed, p.one_share, p.other_share, p.one_rest_s, p.other_rest_s, "
    "p.evidence_nats, p.spans, one.isrc, other.isrc, "
    "case when one_of.of_no in (p.other_no, other_of.of_no) then one.track_id when other_of.of_no = p.one_no then other.track_id end"
)
_FROM: Final = (
    "overlap p join track one on one.track_no = p.one_no join track other on other.track_no = p.other_no "
    "left join track_alias one_of on one_of.track_no = p.one_no left join track_alias other_of on other_of.track_no = p.other_no"
)
_SPAN: Final = 4


def put(connection: Connection, track_no: int, found: Sequence[tuple[int, Overlap, float]]) -> None:
    """What a recording was found to have in common with others (number, overlap as the first sees it, nats), in place of what was known."""
    rows = []
    for other_no, seen, nats in found:
        one_no, low = min(track_no, other_no), seen if track_no < other_no else seen.turned()
        spans = [edge for s in low.spans for edge in (s.begin_s, s.end_s, s.other_begin_s, s.other_end_s)]
        shares = (low.share, low.other_share, low.rest_s, low.other_rest_s)
        rows.append((one_no, max(track_no, other_no), low.kind, low.speed, *shares, nats, spans))
    with connection.cursor() as cursor:
        cursor.executemany(
            """insert into overlap (one_no, other_no, kind, speed, one_share, other_share, one_rest_s, other_rest_s, evidence_nats, spans)
               values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
               on conflict (one_no, other_no) do update set (kind, speed, one_share, other_share, one_rest_s, other_rest_s, evidence_nats, spans)
                 = (excluded.kind, excluded.speed, excluded.one_share, excluded.other_share, excluded.one_rest_s, excluded.other_rest_s,
                    excluded.evidence_nats, excluded.spans)""",
            rows,
        )


def pairs_of(connection: Connection, track_no: int) -> list[Pair]:
    """All of a recording's pairs, as it sees them, best first."""
    rows = connection.execute(f"select {_COLUMNS} from {_FROM} where %(no)s in (p.one_no, p.other_no)", {"no": track_no}).fetchall()
    pairs = [pair if pair.one_no == track_no else _turned(pair) for pair in map(_pair, rows)]
    return sorted(pairs, key=_rank)


def all_pairs(pool: Pool) -> Iterator[Pair]:
    """Every pair of the catalogue, best first; the shorter one first where one is an excerpt. Those of a hundred thousand take some seconds, and 100 MB."""
    with statement(pool) as connection:
        rows = connection.execute(f"select {_COLUMNS} from {_FROM}").fetchall()
    yield from sorted((pair if pair.overlap.share >= pair.overlap.other_share else _turned(pair) for pair in map(_pair, rows)), key=_rank)


def number(connection: Connection, track_id: str) -> int | None:
    row = connection.execute("select track_no from track where track_id = %s", [track_id]).fetchone()
    return None if row is None else int(row[0])


def described(connection: Connection, track_nos: Collection[int]) -> dict[int, Described]:
    """Those that exist, and those that they are aliases of."""
    return _described(
        connection,
        "t.track_no = any(%(nos)s) or t.track_no in (select of_no from track_alias where track_no = any(%(nos)s))",
        {"nos": list(track_nos)},
    )


def with_isrc(connection: Connection, isrcs: Sequence[str], *, but: str) -> dict[int, Described]:
    """Recordings that carry one of some ISRCs, but for one."""
    return _described(connection, "isrc && %(isrcs)s::text[] and track_id <> %(but)s", {"isrcs": list(isrcs), "but": but}) if isrcs else {}


def _described(connection: Connection, which: str, parameters: dict[str, Any]) -> dict[int, Described]:
    columns = "t.track_no, track_id, title, isrc, of_no, in_no is null"
    rows = connection.execute(f"select {columns} from track t left join track_alias a on a.track_no = t.track_no where {which}", parameters)
    return {
        no: Described(track_no=no, track_id=track_id, title=title, isrc=tuple(isrc), of_no=of_no, found=found)
        for no, track_id, title, isrc, of_no, found in rows.fetchall()
    }


# ---------------------------------------------------------------------------------------------------- for people


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Another recording that one has something in common with."""

    other: str
    kind: Kind
    #: Seconds of the other for one of its own; and of each one's sound what is in the other.
    speed: float
    share: float
    other_share: float
    evidence_nats: float
    spans: tuple[Span, ...]


@dataclass(frozen=True, kw_only=True)
class Kin:
    """What else the catalogue has that is a recording, or is like it."""

    alias_of: str | None
    aliases: tuple[str, ...]
    overlaps: tuple[Beside, ...]
    #: What is wrong with its ISRCs, beside those of others.
    isrc_clashes: tuple[str, ...]


def kin(connection: Connection, track_no: int) -> Kin:
    of = connection.execute("select track_id from track_alias a join track t on t.track_no = a.of_no where a.track_no = %s", [track_no]).fetchone()
    rows = connection.execute(
        "select track_id from track_alias a join track t on t.track_no = a.track_no where a.of_no = %s order by a.track_no", [track_no]
    ).fetchall()
    pairs = pairs_of(connection, track_no)
    one = [two_recordings(*row) for row in connection.execute(_ONE_ISRC.format("%(no)s in (one.track_no, other.track_no)"), {"no": track_no}).fetchall()]
    return Kin(
        alias_of=None if of is None else of[0],
        aliases=tuple(track_id for (track_id,) in rows),
        overlaps=tuple(beside(pair) for pair in pairs),
        isrc_clashes=(*filter(None, map(two_isrcs_of, pairs)), *one),
    )


def beside(pair: Pair) -> Beside:
    laid = pair.overlap
    return Beside(
        other=pair.other,
        kind=laid.kind,
        speed=round(laid.speed, 4),
        share=round(laid.share, 3),
        other_share=round(laid.other_share, 3),
        evidence_nats=round(pair.evidence_nats, 1),
        spans=laid.spans,
    )


_ONE_ISRC: Final = """
with carried as (select track_no, track_id, isrc, min(track_no) over (partition by isrc) as first_no
                 from (select distinct track_no, track_id, unnest(isrc) as isrc from track) each)
select one.isrc, one.track_id, other.track_id from carried one join carried other on other.isrc = one.isrc and other.track_no > one.track_no
where {} and not exists (select from overlap p where p.one_no = one.track_no and p.other_no = other.track_no and p.kind <> 'passage')
order by 1, 2, 3
"""


def one_isrc(pool: Pool) -> list[tuple[str, str, str]]:
    """ISRCs that two recordings carry which do not sound alike, with the two; of many that carry one, the first with each other one."""
    with statement(pool) as connection:
        return [(isrc, one, other) for isrc, one, other in connection.execute(_ONE_ISRC.format("one.track_no = one.first_no")).fetchall()]


def two_isrcs_of(pair: Pair) -> str | None:
    """What is wrong with the ISRCs of two recordings that are one, if anything."""
    clash = pair.overlap.kind == "same" and pair.isrc and pair.other_isrc and not set(pair.isrc) & set(pair.other_isrc)
    return two_isrcs(pair.one, pair.isrc, pair.other, pair.other_isrc) if clash else None


def two_isrcs(one: str, isrc: Sequence[str], other: str, other_isrc: Sequence[str]) -> str:
    return f"{one} and {other} are one recording, and have two ISRCs, {' '.join(isrc)} and {' '.join(other_isrc)}: one of them is wrong"


def two_recordings(isrc: str, one: str, other: str) -> str:
    return f"{one} and {other} have one ISRC, {isrc}, and are two recordings: one of them has a wrong one"


def owed(pool: Pool) -> int:
    """How many recordings have not been laid over the others."""
    with statement(pool) as connection:
        row = connection.execute("select count(*) from track where aligned_no is distinct from track_no").fetchone()
    return int(row[0]) if row else 0


def _rank(pair: Pair) -> tuple[Any, ...]:
    order = {"same": 0, "excerpt": 1, "passage": 2}[pair.overlap.kind]
    return order, -round(min(pair.overlap.share, pair.overlap.other_share), 3), -pair.overlap.overlap_s, pair.one, pair.other


def _pair(row: Sequence[Any]) -> Pair:
    one_no, other_no, one, other, kind, speed, share, other_share, rest_s, other_rest_s, nats, spans, isrc, other_isrc, alias = row
    return Pair(
        one_no=one_no,
        other_no=other_no,
        one=one,
        other=other,
        overlap=Overlap(
            kind=_kind(kind),
            speed=speed,
            share=share,
            other_share=other_share,
            rest_s=rest_s,
            other_rest_s=other_rest_s,
            spans=spans_of(spans),
        ),
        evidence_nats=nats,
        isrc=tuple(isrc),
        other_isrc=tuple(other_isrc),
        alias=alias,
    )


def _kind(kind: str) -> Kind:
    return "same" if kind == "same" else "excerpt" if kind == "excerpt" else "passage"


def spans_of(edges: Sequence[float]) -> tuple[Span, ...]:
    """As they are on record."""
    return tuple(_span(edges[n : n + _SPAN]) for n in range(0, len(edges), _SPAN))


def _span(edges: Sequence[float]) -> Span:
    begin_s, end_s, other_begin_s, other_end_s = (round(edge, 2) for edge in edges)
    return Span(begin_s=begin_s, end_s=end_s, other_begin_s=other_begin_s, other_end_s=other_end_s)


def _turned(pair: Pair) -> Pair:
    return Pair(
        one_no=pair.other_no,
        other_no=pair.one_no,
        one=pair.other,
        other=pair.one,
        overlap=pair.overlap.turned(),
        evidence_nats=pair.evidence_nats,
        isrc=pair.other_isrc,
        other_isrc=pair.isrc,
        alias=pair.alias,
    )
