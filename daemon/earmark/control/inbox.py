"""What arrived for one stream, whoever got the message: rows that its session takes and ticks off."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from earmark.postgres import Pool, statement

#: Of each pipeline, looked at together; an hour of two-second files.
ROWS_MAX = 1_800

_COLUMNS = ("bucket", "key", "version", "sequencer", "size", "made_at", "spare")


class Item(Protocol):
    """`audio.archive.ArchiveItem`."""

    @property
    def bucket(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def sequencer(self) -> str: ...


ItemT = TypeVar("ItemT", bound=Item)


class Inbox(Generic[ItemT]):
    """Implements `audio.archive.Inbox`; `item` makes its rows into what that room calls them."""

    def __init__(self, *, pool: Pool, stream_id: str, item: Callable[..., ItemT]) -> None:
        self._pool = pool
        self._stream_id = stream_id
        self._item = item

    def waiting(self) -> list[ItemT]:
        """In the order of their numbers, and behind them those of the other pipeline (`spare`). Raises DatabaseUnavailable."""
        with statement(self._pool) as connection:
            rows: Iterable[tuple[Any, ...]] = connection.execute(
                """
                (select bucket, key, version, sequencer, size, made_at, false as spare from inbox
                  where stream_id = %(stream_id)s and heard_at is null order by counter, made_at, key limit %(most)s)
                union all
                (select bucket, key, version, sequencer, size, made_at, true from inbox
                  where spare_of = %(stream_id)s and heard_at is null order by made_at, key limit %(most)s)""",
                {"stream_id": self._stream_id, "most": ROWS_MAX},
            )
            return [self._item(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]

    def heard(self, items: Sequence[ItemT]) -> None:
        """They are on record, and will not be offered again. Raises DatabaseUnavailable."""
        if not items:
            return
        columns = [[getattr(item, name) for item in items] for name in ("bucket", "key", "version", "sequencer")]
        with statement(self._pool) as connection:
            connection.execute(
                """
                update inbox set heard_at = now()
                  from unnest(%s::text[], %s::text[], %s::text[], %s::text[]) as done (bucket, key, version, sequencer)
                 where (inbox.bucket, inbox.key, inbox.version, inbox.sequencer) = (done.bucket, done.key, done.version, done.sequencer)
                   and %s in (inbox.stream_id, inbox.spare_of)""",
                [*columns, self._stream_id],
            )
