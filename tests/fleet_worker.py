"""One worker process of a fleet: a real supervisor with real leases, whose sessions only note that they run.

It ends with SIGTERM, as a daemon does, and says `twice` of a stream that somebody else has not let go of.
"""

import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack

import psycopg
from pydantic import SecretStr

from earmark.control.fleet import Fleet
from earmark.control.leases import Ended, HandedOver, Leases, Outcome
from earmark.control.supervisor import Supervisor
from earmark.control.wakeups import Wakeups
from earmark.model import Lease
from earmark.postgres import open_pool, statement
from earmark.session import Signals, Stop
from earmark.settings import Database
from earmark.settings import Leases as LeaseSettings

SETTINGS = LeaseSettings(renew_s=0.5, ttl_s=3, drain_s=20)


class Load:
    busy_share, oldest_job_s = 0.0, 0.0


class Silent:
    """Counts nothing: the test looks at the database."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def main(dsn: str, name: str) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with ExitStack() as stack:
        database = Database(dsn=SecretStr(dsn), pool_max=4)
        pool = stack.enter_context(open_pool(database, application_name=name))

        def session(lease: Lease, signals: Signals) -> Outcome:
            with statement(pool) as connection:
                try:
                    connection.execute("insert into heard (stream_id, worker) values (%s, %s)", [lease.stream.stream_id, name])
                except psycopg.errors.UniqueViolation:
                    connection.execute("insert into twice values (%s, %s)", [lease.stream.stream_id, name])
                    raise
            while not signals.stop:
                signals.wait(60)
            with statement(pool) as connection:
                connection.execute("delete from heard where stream_id = %s and worker = %s", [lease.stream.stream_id, name])
            return Ended("stream_end") if signals.stop is Stop.END else HandedOver()

        supervisor = Supervisor(
            leases=Leases(pool=pool, worker=name, settings=SETTINGS),
            run_session=session,
            load=Load(),
            settings=SETTINGS,
            meter=Silent(),
            stop=stop,
            fleet=Fleet(pool=pool, worker=name, ttl_s=SETTINGS.ttl_s),
        )
        wakeups = threading.Thread(target=Wakeups(database=database, woken=supervisor.wake, stop=stop).run, daemon=True)
        wakeups.start()
        supervisor.run()
        wakeups.join(5)
