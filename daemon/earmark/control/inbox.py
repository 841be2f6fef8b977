"""What arrived for one stream, whoever got the message: rows that its session takes and ticks off."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from earmark.postgres import Pool, statement

#: Looked at together; an hour of two-second files.
ROWS_MAX = 1_800


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
        """In the order of their numbers. Raises DatabaseUnavailable."""
        with statement(self._pool) as connection:
            rows: Iterable[tuple[Any, ...]] = connection.execute(
                """
                select bucket, key, version, sequencer, size from inbox
                 where stream_id = %s and heard_at is null order by counter, made_at, key limit %s""",
                [self._stream_id, ROWS_MAX],
            )
            return [self._item(bucket=bucket, key=key, version=version, sequencer=sequencer, size=size) for bucket, key, version, sequencer, size in rows]

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
                   and inbox.stream_id = %s""",
                [*columns, self._stream_id],
            )
