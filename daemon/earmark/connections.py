"""Is there room on the server for all the connections that a worker may open? Asked once, at its start."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from earmark.errors import BadSettings
from earmark.postgres import Pool, statement, where


def check_connections(pools: Sequence[Pool], *, besides: int) -> list[str]:
    """May all pools of this process fill, `besides` further connections to the first one's server with them?

    Returns a sentence for each server that has no room for them beside those that others have open now: it will refuse
    somebody. Raises BadSettings when it would not even if nobody else were there. Pools on one server count together.

    Behind a pooler the server knows only the pooler's connections, and what the pooler allows cannot be asked for: then this
    says less than it seems to.
    """
    names = [pool.name[:_NAME_BYTES_MAX] for pool in pools]
    servers: dict[datetime, _Room] = {}
    for pool in pools:
        with statement(pool) as connection:
            started_at, limit, reserved, others = connection.execute(_CONNECTIONS, [names]).fetchall()[0]
        room = servers.setdefault(started_at, _Room(where=where(pool), limit=limit, reserved=reserved, others=others))
        room.ours += pool.max_size + (besides if pool is pools[0] else 0)
    for room in servers.values():
        if room.ours > room.limit - room.reserved:
            raise BadSettings(
                f"{room} and this worker opens up to {room.ours}: "
                f"lower database.pool_max, or raise max_connections there (to {room.ours + room.reserved} at least)"
            )
    return [
        f"{room}, others have {room.others} of them open now, and this worker opens up to {room.ours}: lower database.pool_max, or raise max_connections there"
        for room in servers.values()
        if room.others + room.ours > room.limit - room.reserved
    ]


#: The server keeps no more of an application_name.
_NAME_BYTES_MAX = 63


@dataclass(kw_only=True)
class _Room:
    """What a server allows, and who asks for it."""

    where: str
    limit: int
    reserved: int
    others: int
    ours: int = 0

    def __str__(self) -> str:
        return f"{self.where} allows {self.limit - self.reserved} connections ({self.limit} less {self.reserved} reserved)"


#: A server is known by the microsecond in which it started: it has several addresses, and a pooler's is none of them. Who
#: may not see what others do sees that they are there. (reserved_connections: since PostgreSQL 16.)
_CONNECTIONS = """
select pg_postmaster_start_time(),
       current_setting('max_connections')::int,
       current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections', true), '0')::int,
       (select count(*)::int from pg_stat_activity
         where coalesce(backend_type, 'client backend') = 'client backend' and datid is not null and not application_name = any(%s))"""
