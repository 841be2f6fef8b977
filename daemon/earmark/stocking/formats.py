"""The fan-out: copies of recordings in other formats are made behind everything else, whenever there is news of a recording.

NOTIFY ─▶ wake ─▶ job: claim ─▶ copies of one recording ─▶ finish        another job, another worker: the next one
"""

import threading
import time
from functools import partial
from pathlib import Path
from typing import Final, Literal, Protocol

import structlog

from earmark.audio.encode import unknown_codecs
from earmark.control.patience import Patience
from earmark.control.reconcile import take_turn
from earmark.errors import AwsRefused, AwsUnavailable, BadSettings, Transient
from earmark.postgres import Pool, transaction
from earmark.settings import Settings, formats_place
from earmark.stocking.bucket import S3, Bucket
from earmark.stocking.copying import Copying, Done, Outcome
from earmark.stocking.encoder import Encoder
from earmark.stocking.fan_out import RENEW_S, FanOut, Turn
from earmark.stocking.job import Beat, Leaving, News, temporary_folder
from earmark.stocking.rows import Overtaken
from earmark.stocking.targets import listed

#: Without news, what is due is looked for this often.
_LOOK_S: Final = 15.0
#: Workers with other settings may be about, as long as a deployment takes: what they looked at is looked at again.
_LIST_EVERY_S: Final = 600.0
_NIGHT_S: Final = 86_400.0
#: Where S3 refuses what is written, it does so for every recording: the next one is tried after this, which doubles.
_REFUSED_S: Final = (5.0, 3_600.0)
_KIND: Final = "formats"
#: Beyond every key.
_END: Final = chr(0x10FFFF)


class Meter(Protocol):
    """What is counted: `telemetry`."""

    def copied(self, outcome: Outcome | Literal["postponed"], *, size_bytes: int = 0) -> None: ...
    def copies_due(self, *, due: int, oldest_s: float, failed: int) -> None: ...


def refuse_unknown(settings: Settings) -> None:
    """Raises BadSettings for formats that cannot be written here."""
    unknown = unknown_codecs()
    for target in settings.formats.targets:
        if target.codec in unknown:
            raise BadSettings(f"the FFmpeg that is installed here cannot write {target.codec}: leave the format {target.name} out of formats.targets")


class Formats:
    """`run` in as many threads as there are jobs, each until `stop`; `wake` from anywhere."""

    def __init__(self, *, pool: Pool, s3: S3, settings: Settings, worker: str, meter: Meter, stop: threading.Event, look_s: float = _LOOK_S) -> None:
        """Raises BadSettings for formats that cannot be written here."""
        refuse_unknown(settings)
        self._pool = pool
        self._s3 = s3
        self._settings = settings
        self._worker = worker
        self._meter = meter
        self._stop = stop
        self._look_s = look_s
        self._place = Bucket(s3=s3, place=formats_place(settings.formats, settings.catalogue))
        self._listed_at: float | None = None
        self._news = News(stop=stop, look_s=look_s)
        self.wake = self._news.wake
        self._log = structlog.get_logger()

    def run(self, job: int = 0) -> None:
        """One job. What fails for now is told when it begins to, and tried again. Raises BadSettings without a temporary folder."""
        rows = FanOut(pool=self._pool, worker=f"{self._worker} formats {job}")
        patience = Patience(event="formats.not_made", of="job", failed=self._pause)
        encoder = Encoder()
        with temporary_folder("formats") as folder:
            copying = self.copying(rows, encoder, Path(folder))
            try:
                while not self._stop.is_set():
                    patience.call("formats", lambda: self._step(rows, copying, encoder))
            finally:
                encoder.close()

    def _pause(self) -> None:
        self._stop.wait(self._look_s)

    def copying(self, rows: FanOut, encoder: Encoder, folder: Path) -> Copying:
        return Copying(rows=rows, pool=self._pool, s3=self._s3, settings=self._settings, encoder=encoder, folder=folder, told=self._done)

    def _step(self, rows: FanOut, copying: Copying, encoder: Encoder) -> None:
        """Take up all that is due; then wait, without a child that would only take memory."""
        told, refused = self._news.told, 0
        while not self._stop.is_set() and (turn := rows.claim()):
            refused = 0 if self.take_up(rows, copying, turn) else refused + 1
            if refused:
                first_s, most_s = _REFUSED_S
                self._stop.wait(min(most_s, first_s * 2.0 ** min(refused - 1, 10)))
        encoder.close()
        self._news.wait(told, rows.next_due_s())

    def take_up(self, rows: FanOut, copying: Copying, turn: Turn) -> bool:
        """False if AWS did not do as it was asked. Raises DatabaseUnavailable: then it is due again when its lease is over."""
        try:
            copying.take(turn, Beat(partial(rows.renew, turn), every_s=RENEW_S, stop=self._stop))
        except (Overtaken, Leaving):
            rows.put_back(turn, counted=False)
        except (AwsUnavailable, AwsRefused) as error:
            self._postpone(rows, turn, str(error))
            return False
        except (Transient, OSError) as error:
            self._postpone(rows, turn, str(error))
        except Exception as error:  # noqa: BLE001 -- a bug that this recording brings to light: told loudly, tried again, and then set aside
            self._log.exception("formats.crashed", key=turn.key)
            self._postpone(rows, turn, f"a bug that it brings to light: {type(error).__name__}; see the log for formats.crashed")
        return True

    def _postpone(self, rows: FanOut, turn: Turn, reason: str) -> None:
        self._meter.copied("postponed")
        self._log.warning("formats.postponed", key=turn.key, attempts=turn.attempts, reason=reason)
        rows.put_back(turn, reason=reason)

    def _done(self, done: Done) -> None:
        self._meter.copied(done.outcome, size_bytes=done.encoded.size_bytes if done.encoded else 0)
        tell = self._log.warning if done.outcome == "failed" else self._log.info
        tell(f"formats.{done.outcome}", format=done.name, url=done.url, track_id=done.track_id, **({"reason": done.reason} if done.reason else {}))

    # -------------------------------------------------------------------------------------------- beside the jobs

    def watch(self) -> None:
        """What waits, to the metrics; and now and then, whether all of it was looked at by these settings."""
        rows = FanOut(pool=self._pool, worker=self._worker)
        if self._listed_at is None or time.monotonic() - self._listed_at > _LIST_EVERY_S:
            rows.list_anew(listed(self._settings.formats, self._place.place))
            self._listed_at = time.monotonic()
            self.wake()
        due, oldest_s, failed = rows.waiting()
        self._meter.copies_due(due=due, oldest_s=oldest_s, failed=failed)

    def nightly(self) -> None:
        """In one worker's turn: what was given up is tried again, and what somebody deleted is made again.

        Raises AwsUnavailable, AwsRefused or DatabaseUnavailable: it is tried again in a while.
        """
        with transaction(self._pool) as connection:
            if not take_turn(connection, _KIND, _NIGHT_S):
                return
        rows = FanOut(pool=self._pool, worker=self._worker)
        try:
            rows.again(given_up=True)
            for key in look_through(rows, self._place):
                self._log.warning("formats.missing", url=f"s3://{self._place.name}/{key}")
        except (Transient, AwsRefused):
            with transaction(self._pool) as connection:
                connection.execute("delete from sweep where kind = %s", [_KIND])
            raise
        self.wake()


def look_through(rows: FanOut, place: Bucket) -> list[str]:
    """A listing of where copies are written to, beside what is on record: the keys of those that are not there, which are due again.

    Raises DatabaseUnavailable, AwsUnavailable, AwsRefused.
    """
    lacking: list[str] = []
    began, after = rows.now(), ""
    for page in place.pages():
        if page:
            last = page[-1].key
            lacking += rows.missing(place.name, place.prefix, began=began, after=after, last=last, keys=[entry.key for entry in page])
            after = last
    return lacking + rows.missing(place.name, place.prefix, began=began, after=after, last=_END, keys=[])
