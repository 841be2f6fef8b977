"""What rounds of the canary leave behind goes: rows of their streams, and objects below `canary/` in the bucket of results."""

from typing import Final

from earmark.aws import asking
from earmark.control import forgetting, wanted
from earmark.postgres import Connection, Pool, statement, transaction
from earmark.reserved import CANARY
from earmark.settings import Results

#: Rounds that are cleared away at once: more were killed in a row than anybody would leave unseen.
ROUNDS_MAX: Final = 100


#: By an index of its own.
_STREAMS: Final = f"select stream_id from stream where starts_with(stream_id, '{CANARY}') and stream_id <> %s limit %s"  # noqa: S608 -- our own word


class Leftovers:
    """Of this round when it is over, and of earlier ones whose runner was killed before that."""

    def __init__(self, *, pool: Pool, s3: forgetting.S3, results: Results) -> None:
        self._pool, self._s3 = pool, s3
        self._bucket, self._below = results.bucket, f"{results.prefix}canary/"
        self._results = forgetting.Results(s3=s3, bucket=results.bucket, prefix=results.prefix)

    def clear(self, *, but_not: str) -> int:
        """Everything of all rounds but one; how many had left something. Whoever runs that one runs the only one there is.

        Raises AwsUnavailable, AwsRefused, DatabaseUnavailable.
        """
        with statement(self._pool) as connection:
            rows = connection.execute(_STREAMS.encode(), [but_not, ROUNDS_MAX]).fetchall()
        left = {stream_id for (stream_id,) in rows} | self._in_the_bucket()
        return sum(self._try(stream_id) for stream_id in sorted(left - {but_not})[:ROUNDS_MAX])

    def clear_stream(self, stream_id: str) -> bool:
        """False while somebody listens to it, who is told to stop. Raises Leaving, DatabaseUnavailable, AwsUnavailable, AwsRefused."""
        with transaction(self._pool) as connection:
            if not _end(connection, stream_id):
                return False
        forgetting.forget(self._pool, stream_id, results=self._results)
        return True

    def _try(self, stream_id: str) -> bool:
        """What is listened to yet is left to the next round."""
        try:
            return self.clear_stream(stream_id)
        except forgetting.Leaving:
            return False

    def _in_the_bucket(self) -> set[str]:
        with asking("s3:ListBucket", f"s3://{self._bucket}/{self._below}", absent="create the bucket or correct results.bucket"):
            page = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=self._below, Delimiter="/", MaxKeys=ROUNDS_MAX)
        return {CANARY + found["Prefix"].removeprefix(self._below).rstrip("/") for found in page.get("CommonPrefixes", ())}


def _end(connection: Connection, stream_id: str) -> bool:
    """Whether nobody listens (any more): then the session is over. Else its worker is told that the stream is."""
    row = connection.execute(
        """
        update stream set stop_at = coalesce(stop_at, now()), stop_reason = coalesce(stop_reason, 'stopped'),
               state = case when ours then 'ended' else state end, owner = case when ours then null else owner end,
               lease_until = case when ours then null else lease_until end,
               ended_at = case when ours then coalesce(ended_at, now()) else ended_at end,
               end_reason = case when ours then coalesce(end_reason, 'stream_end') else end_reason end
          from (select stream_id as of_id, owner is null or lease_until < now() as ours from stream where stream_id = %s for update) locked
         where stream_id = of_id
        returning state = 'ended'""",
        [stream_id],
    ).fetchone()
    if row is None:
        return True
    if not row[0]:
        wanted.notify(connection, stream_id)
    return bool(row[0])
