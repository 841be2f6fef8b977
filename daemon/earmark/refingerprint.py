"""A catalogue made anew for another version of the fingerprint, beside the one in use, and then put in its place.

    objects of the bucket ─▶ jobs, each with a process that decodes ─▶ tables beside (`index.beside`) ─▶ exchange
    files of folders      ─▶

Everything is found out by comparing the two sets of tables, again and again: what is lacking is made, what is superfluous
goes. So it does not matter when this is ended or killed, and what live workers add, replace or take out meanwhile is
caught up with; the exchange itself compares once more, while nobody writes.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from psycopg.errors import Error, LockNotAvailable
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr

from earmark import postgres
from earmark.errors import BadSettings, EarmarkError
from earmark.hits.text import counted
from earmark.index import beside, upkeep, version
from earmark.index.beside import Beside, Kind, Lacking
from earmark.index.catalogue import take_out
from earmark.postgres import Connection, Pool, limit, maintenance, transaction, where
from earmark.relating import Relating
from earmark.reserved import is_canary
from earmark.settings import Database, Settings
from earmark.standby import listened_to, standing_by
from earmark.stocking.bucket import S3
from earmark.stocking.sounds import Sounds

#: One at a time, whatever it does with the tables beside.
_LOCK: Final = 0x656172_6265736964
#: Of the transaction that exchanges: it writes a row for each recording. And so long it waits for those who write.
_EXCHANGE_S: Final = 600
_GATE_S: Final = 60
#: Of its last locks, during which whoever asks waits, too.
_LOCK_WAIT_S: Final = 2.0
#: Packed and merged after so many recordings.
_TIDY: Final = 128
#: Comparisons that find something to do yet: whoever adds faster than this has to be waited for otherwise.
_ROUNDS_MAX: Final = 20
#: The workers that are to go on are waited for so long, looked for so often.
_WAIT_S, _LOOK_S = 3_600.0, 1.0

#: How far it is: recordings done, of how many, and the last one.
Advance = Callable[[int, int, str], object]


@dataclass(kw_only=True)
class Made:
    """What was done, and what could not be."""

    done: int = 0
    #: By track_id: why there is none, a sentence each.
    missing: dict[str, str] = field(default_factory=dict)


class Refused(EarmarkError):
    """It cannot be exchanged as it is."""


class Unfinished(Refused):
    """There is something to be made anew yet."""


def _give_back(connection: Connection) -> None:
    """At once, and not when the server notices that the connection has ended."""
    with suppress(Error):  # of a broken connection it is given back by its end
        connection.execute("select pg_advisory_unlock(%s)", [_LOCK])


class Refingerprinting:
    """One catalogue; used in a `with`, as which nobody else can at the same time.

    Args:
        pool: of the tables in use.
        s3: asked for when the first object is fetched.
    """

    def __init__(self, *, pool: Pool, settings: Settings, s3: Callable[[], S3]) -> None:
        self._pool = pool
        self._settings = settings
        self._s3 = s3
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Raises BadSettings if somebody else is at it."""
        database = self._database
        with ExitStack() as stack:
            # Of a connection of its own, so that it is given back whatever becomes of us.
            connection = stack.enter_context(postgres.connected(database, application_name="earmark-refingerprint"))
            row = connection.execute("select pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
            if not row or not row[0]:
                raise BadSettings(f"another refingerprint of the catalogue in {where(self._pool)} runs: wait until it has ended, or end it")
            stack.callback(_give_back, connection)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # -------------------------------------------------------------------------------------------- making it

    def begin(self) -> tuple[Beside, int]:
        """The tables beside, made if there are none; and the bytes on the database's disk that they will need about.

        Raises BadSettings if there is nothing to do for this version, or another one's tables are there.
        """
        with transaction(self._pool) as connection:
            limit(connection, _EXCHANGE_S)
            used, there = version.read(connection), beside.find(connection)
            if used is None:
                raise BadSettings(f"the catalogue in {where(self._pool)} is empty: there is nothing to make anew, any version of Earmark may begin it")
            if used == version.OURS:
                raise BadSettings(f"the catalogue in {where(self._pool)} is of version {used} already, which is what this Earmark makes: nothing is to be done")
            if there and there.version != version.OURS:
                what = "left from before the last exchange" if there.kind == "previous" else "begun by another Earmark"
                raise BadSettings(
                    f"there are tables of version {there.version} beside the catalogue, {what}, and this Earmark makes version {version.OURS}: "
                    "drop them with `earmark catalogue switch --drop`"
                )
            if not there and used > version.OURS:
                raise BadSettings(
                    f"the catalogue in {where(self._pool)} is of version {used}, newer than version {version.OURS}, which this Earmark makes: "
                    "versions do not go backwards; run the Earmark that made it, or a newer one"
                )
            return there or beside.make(connection), beside.bytes_about(connection)

    def make(self, there: Beside, *, folders: Sequence[Path], jobs: int, advance: Advance, before: Made | None = None) -> Made:
        """Make what is lacking, take out what is superfluous, until nothing is to be done but for what cannot be.

        `folders`: where files are looked for that did not come from a bucket, by their content. `before`: what was not to be
        had then is not tried again. Raises AwsRefused, AwsUnavailable only of what concerns all objects; BadSettings without
        a temporary folder.
        """
        made = Made(missing=dict(before.missing) if before else {})
        with self._leading_to(there) as pool, Sounds(s3=self._s3, settings=self._settings, folders=folders) as sounds:
            shared = self._settings.catalogue.shared_passages
            relating = Relating(pool=pool) if shared else None
            for _ in range(_ROUNDS_MAX):
                with transaction(pool) as connection:
                    found = beside.differences(connection, there)
                todo = [one for one in found.lacking if one.track_id not in made.missing and not is_canary(one.track_id)]
                if not todo and not found.superfluous and not found.aliases and not (found.uncompared and relating):
                    break
                with transaction(pool) as connection:
                    limit(connection, _EXCHANGE_S)
                    beside.follow(connection, there)
                self._fill(there, pool, todo, sounds, relating, made, jobs=jobs, advance=advance)
                if relating:
                    for _done in relating.again():
                        pass
                upkeep.upkeep(pool)
            self._analyze(there, pool)
        return made

    @contextmanager
    def _leading_to(self, there: Beside) -> Iterator[Pool]:
        """Connections for which the tables beside go before those in use."""
        with postgres.open_pool(self._database, application_name="earmark-refingerprint", schemas=(there.schema, there.home)) as pool:
            yield pool

    @property
    def _database(self) -> Database:
        dsn = self._pool.conninfo
        return self._settings.database.model_copy(update={"dsn": SecretStr(dsn if isinstance(dsn, str) else dsn()), "read_dsn": SecretStr("")})

    def _fill(
        self, there: Beside, pool: Pool, todo: Sequence[Lacking], sounds: "Sounds", relating: Relating | None, made: Made, *, jobs: int, advance: Advance
    ) -> None:
        since = 0
        for done, (lacking, recording) in enumerate(sounds.of(todo, jobs=jobs), 1):
            if isinstance(recording, str):
                made.missing[lacking.track_id] = recording
            else:
                with transaction(pool) as connection:
                    put = beside.put(connection, pool, there, lacking, recording)
                if put and relating:
                    relating.relate([recording])
                made.done += put
                since += put
                if since >= _TIDY:
                    upkeep.upkeep(pool)
                    since = 0
            advance(done, len(todo), lacking.track_id)

    @staticmethod
    def _analyze(there: Beside, pool: Pool) -> None:
        """So that the first questions after the exchange are planned as those before it."""
        with maintenance(pool) as connection:
            for table in beside.TABLES:
                connection.execute(SQL("analyze {}").format(Identifier(there.schema, table)))

    # -------------------------------------------------------------------------------------------- exchanging it

    def exchange(self, kind: Kind, *, without_missing: bool = False, although_nobody: bool = False) -> tuple[Beside, list[str]]:
        """Put the tables beside in the place of those in use; what lies beside then, and the track_ids that were taken out for it.

        Raises Refused, with a sentence, if anything differs, or nobody stands by to go on; BadSettings if there are none.
        """
        with transaction(self._pool) as connection:
            limit(connection, _EXCHANGE_S)
            there = self._there(connection, kind)
            connection.execute("select set_config('lock_timeout', %s, true)", [f"{_GATE_S * 1000}"])
            version.close(connection)
            if not although_nobody:
                self._refuse_to_leave_streams(connection, there)
            without = self._refuse_differences(connection, there, without_missing=without_missing)
            try:
                left = beside.exchange(connection, there, lock_wait_s=_LOCK_WAIT_S)
            except LockNotAvailable:
                raise Refused(
                    f"the catalogue in {where(self._pool)} is read for longer than can be waited for, by an export perhaps: try again when it has ended"
                ) from None
            connection.execute("select pg_notify('earmark_control', '')")
        return left, without

    def wait_for(self, kind: Kind, workers: int, *, meanwhile: Callable[[], object]) -> None:
        """Until so many workers of the version beside stand by; `meanwhile` is called between two looks. Raises Refused after an hour."""
        until = time.monotonic() + _WAIT_S
        while True:
            with transaction(self._pool) as connection:
                there = self._there(connection, kind)
                seen = standing_by(connection, there.version)
            if seen >= workers:
                return
            if time.monotonic() > until:
                raise Refused(f"within an hour no {workers} workers of version {there.version} stood by (now {seen} do): start them, then try again")
            meanwhile()
            time.sleep(_LOOK_S)

    def found(self, kind: Kind) -> Beside:
        """Raises BadSettings if there is none."""
        with transaction(self._pool) as connection:
            return self._there(connection, kind)

    def drop(self) -> Beside:
        """Raises BadSettings if there is nothing beside."""
        with transaction(self._pool) as connection:
            limit(connection, _EXCHANGE_S)
            there = beside.find(connection)
            if there is None:
                raise BadSettings("there are no tables beside the catalogue: nothing is to be dropped")
            beside.drop(connection, there)
        return there

    def _there(self, connection: Connection, kind: Kind) -> Beside:
        there = beside.find(connection)
        if there is None or there.kind != kind:
            missing = (
                "no catalogue of another version is being made: `earmark catalogue refingerprint` of the new Earmark makes one"
                if kind == "next"
                else "no catalogue of before an exchange is kept: there is nothing to go back to"
            )
            raise BadSettings(missing)
        if kind == "next" and there.version != version.OURS:
            raise BadSettings(
                f"the tables beside the catalogue are of version {there.version}, and this Earmark makes version {version.OURS}: let theirs do it"
            )
        return there

    def _refuse_to_leave_streams(self, connection: Connection, there: Beside) -> None:
        streams = listened_to(connection)
        if streams and not standing_by(connection, there.version):
            raise Refused(
                f"{counted(streams, 'stream')} {'is' if streams == 1 else 'are'} listened to, and no worker of version {there.version} stands by to go on: "
                "start some first (they wait for the exchange), with --wait N to do it as soon as N do, or say --now"
            )

    def _refuse_differences(self, connection: Connection, there: Beside, *, without_missing: bool) -> list[str]:
        """The gate is closed: what is found to be equal stays so."""
        lacking = beside.differences(connection, there).lacking
        # The canary's is not made anew: whoever runs its next round puts it into the catalogue that is in use then.
        for canary in [one for one in lacking if is_canary(one.track_id)]:
            take_out(connection, canary.track_id)
        lacking = tuple(one for one in lacking if not is_canary(one.track_id))
        left_out = [one.track_id for one in lacking] if without_missing else []
        for track_id in left_out:
            take_out(connection, track_id)
        if lacking and not left_out:
            named = ", ".join(one.track_id for one in lacking[:3]) + (", …" if len(lacking) > 3 else "")
            raise Unfinished(
                f"the catalogue of version {there.version} lacks {counted(len(lacking), 'recording')} ({named}): {_remedy(there)}, "
                "or leave them out of the catalogue with --without-missing"
            )
        beside.follow(connection, there)
        found = beside.differences(connection, there)
        if found.lacking or found.superfluous or found.aliases or (found.uncompared and self._settings.catalogue.shared_passages):
            raise Unfinished(f"the catalogue of version {there.version} is not finished: {_remedy(there)}")
        return left_out


def _remedy(there: Beside) -> str:
    if there.kind == "next":
        return "run `earmark catalogue refingerprint` again"
    return f"run `earmark catalogue refingerprint` of the Earmark that makes version {there.version}, which brings them up to date"
