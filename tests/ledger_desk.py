"""A database with one running stream, as tests of ledgers have it."""

from dataclasses import replace
from typing import Any

import hits_samples as samples
from earmark.model import Lease
from earmark.postgres import Pool, transaction


class LedgerDesk:
    """Its stream is held by a lease, which another worker may take over."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        with transaction(pool) as connection:
            self.lease = samples.insert_stream(connection)

    def take_over(self, owner: str = "worker-2") -> Lease:
        self.execute("update stream set owner = %s, fencing = fencing + 1", owner)
        return replace(self.lease, owner=owner, fencing=self.lease.fencing + 1)

    def execute(self, query: str, *parameters: Any) -> list[Any]:
        with transaction(self.pool) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []
