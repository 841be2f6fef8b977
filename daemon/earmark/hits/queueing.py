"""How something that has to leave gets into the outbox: in the transaction that decides it."""

from psycopg.types.json import Json

from earmark.hits.outgoing import Outgoing
from earmark.postgres import Connection

#: A document that still waits is replaced by its newer self; one that is being sent (locked, or taken) is left alone, and
#: the newer one follows it. Messages are never replaced.
_ENQUEUE = """
with waiting as (
  select outbox_id from outbox
   where %(target)s = 's3' and target = 's3' and key = %(key)s and revision <= %(revision)s and dead_at is null
     and (taken_until is null or taken_until < now())
   order by outbox_id desc limit 1 for update skip locked
), replaced as (
  update outbox set body = %(body)s, revision = %(revision)s, content_type = %(content_type)s, taken_until = null
   where outbox_id = (select outbox_id from waiting)
  returning outbox_id
), added as (
  insert into outbox (stream_id, target, key, revision, content_type, body, content, attributes, after_id, trace_id, due_at, not_before)
  select %(stream_id)s, %(target)s, %(key)s, %(revision)s, %(content_type)s, %(body)s, %(content)s::bytea, %(attributes)s, %(after_id)s,
         coalesce((select trace_id from stream where stream_id = %(stream_id)s), ''),
         now() + make_interval(secs => %(wait_s)s), case when %(wait_s)s > 0 then now() + make_interval(secs => %(wait_s)s) end
   where not exists (select 1 from replaced)
  returning outbox_id
)
select outbox_id from replaced union all select outbox_id from added
"""


def enqueue(connection: Connection, item: Outgoing, after_id: int | None = None) -> int:
    """The row's `outbox_id`. It leaves behind the row `after_id`, for as long as `outbox.alert_wait_s` says at most."""
    parameters = {
        "target": item.target,
        "stream_id": item.stream_id,
        "key": item.key,
        "revision": item.revision,
        "content_type": item.content_type,
        "body": item.body,
        "content": item.content or None,
        "attributes": Json(item.attributes),
        "after_id": after_id,
        "wait_s": item.wait_s,
    }
    rows = connection.execute(_ENQUEUE, parameters).fetchall()
    return int(rows[0][0])
