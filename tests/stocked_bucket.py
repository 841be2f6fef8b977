"""A bucket that is a catalogue: objects into it, their events in any order, and jobs that take them up, here and now."""

import itertools
import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from control_rows import rows, run
from earmark.audio.encode import Encoded, Encoding
from earmark.control.messages import ObjectArrived, ObjectRemoved
from earmark.control.places import Places
from earmark.control.wanted import Effect, record
from earmark.index.catalogue import Tracks
from earmark.local.aws import AwsStandIn
from earmark.postgres import Pool, transaction
from earmark.settings import Catalogue
from earmark.stocking.apart import Apart, Sound
from earmark.stocking.child import Child
from earmark.stocking.encoder import Encoder
from earmark.stocking.reconcile import Compared, Comparison
from earmark.stocking.rows import Objects
from earmark.stocking.stock import Stock
from earmark.stocking.taking import Taking
from index_audio import notes, write_flac

BUCKET = "earmark-media"
PLACE = f"s3://{BUCKET}/catalogue/"
#: The fields of a recording that a whole sidecar has.
SIDECAR = {
    "title": "Blue Sky Morning",
    "artists": ["The Example Five"],
    "album": "First Light",
    "label": "Paper Boat",
    "isrc": ["GB-AYE-06-01498"],
    "iswc": ["T-034.524.680-1"],
    "upc": ["00602517484016"],
    "rights_holder": "Paper Boat Rights Ltd",
    "policy": "block",
    "territories": ["WW", "-US"],
    "valid_from": "2026-01-01",
    "valid_to": "2026-12-31",
}


@cache
def recording(seed: int, duration_s: float = 4.0, **tags: str) -> bytes:
    """A FLAC file that is another recording for each seed."""
    with tempfile.TemporaryDirectory() as folder:
        return write_flac(Path(folder) / "it.flac", notes(seed, duration_s), **tags).read_bytes()


class Counted:
    """`Meter`, as a dictionary."""

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.seconds: list[float] = []
        self.compared: dict[str, int] = {}

    def stocked(self, outcome: str, *, seconds: float | None = None) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if seconds is not None:
            self.seconds.append(seconds)

    def in_stock(self, **counts: float) -> None:
        self.waiting = counts

    def reconciled(self, result: str, count: int = 1) -> None:
        self.compared[result] = self.compared.get(result, 0) + count


class WatchedApart(Apart):
    """Counts what is fingerprinted; `meanwhile` is called in the midst of the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.fingerprinted = 0
        self.meanwhile: Callable[[], object] | None = None

    def fingerprint(self, path: Path, *, longest_s: float, beat: Callable[[], object]) -> Sound:
        self.fingerprinted += 1
        made = super().fingerprint(path, longest_s=longest_s, beat=beat)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        return made


class WatchedEncoder(Encoder):
    """Counts what is encoded; `meanwhile` is called in the midst of the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded = 0
        self.meanwhile: Callable[[], object] | None = None

    def encode(self, file: Path, into: Path, how: Encoding, *, duration_s: float, beat: Callable[[], object]) -> Encoded:
        self.encoded += 1
        made = super().encode(file, into, how, duration_s=duration_s, beat=beat)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        return made


def deadly(child: Child) -> Callable[..., Any]:
    """In place of the child's `_ask`: it is killed over each question."""
    asked = child._ask

    def die(*arguments: Any) -> Any:
        child.open()
        assert child._process
        child._process.kill()
        child._process.join()
        return asked(*arguments)

    return die


class Shelf:
    """The bucket, and one job that takes up what is due when it is told to."""

    def __init__(self, *, s3: Any, pool: Pool, apart: WatchedApart, folder: Path, worker: str = "worker", **settings: Any) -> None:
        self.s3, self.pool, self.apart = s3, pool, apart
        self.settings = Catalogue(**{"place": PLACE, **settings})
        self.meter = Counted()
        self.stock = Stock(pool=pool, index=None, s3=s3, settings=self.settings, worker=worker, meter=self.meter, stop=threading.Event())  # type: ignore[arg-type]
        self.objects = Objects(pool=pool, worker=f"{worker} job 0")
        self.taking: Taking = self.stock._taking(self.objects, apart, folder)
        self._sequence = itertools.count(0x0055AED6DCD90281)

    # The bucket, and what it says of itself.

    def put(self, name: str, data: bytes | Mapping[str, Any] | list[Any]) -> ObjectArrived:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.s3.put_object(Bucket=BUCKET, Key=f"catalogue/{name}", Body=body)
        return ObjectArrived(bucket=BUCKET, key=f"catalogue/{name}", version="", size=len(body), sequencer=f"{next(self._sequence):016X}", at=datetime.now(UTC))

    def delete(self, name: str) -> ObjectRemoved:
        self.s3.delete_object(Bucket=BUCKET, Key=f"catalogue/{name}")
        return ObjectRemoved(bucket=BUCKET, key=f"catalogue/{name}", sequencer=f"{next(self._sequence):016X}", at=datetime.now(UTC))

    def tell(self, *messages: ObjectArrived | ObjectRemoved) -> list[Effect]:
        effects = []
        for message in messages:
            with transaction(self.pool) as connection:
                effects.append(record(connection, message, places=Places(catalogue=self.settings.place)))
        return effects

    def has(self, name: str, data: bytes | Mapping[str, Any] | list[Any]) -> "Shelf":
        """Put, told, and taken up."""
        self.tell(self.put(name, data))
        return self.settle()

    def lacks(self, name: str) -> "Shelf":
        self.tell(self.delete(name))
        return self.settle()

    def settle(self) -> "Shelf":
        """Take up all that is due."""
        for _ in range(1_000):
            claim = self.objects.claim()
            if claim is None:
                return self
            self.stock.take_up(self.objects, self.taking, claim)
        raise AssertionError("there is always more to do")

    def compare(self, **how: Any) -> Compared:
        comparison = Comparison(pool=self.pool, s3=self.s3, settings=self.settings, meter=self.meter)  # type: ignore[arg-type]
        found = comparison.compare(**how)
        self.settle()
        return found

    def pass_time(self, seconds: float) -> None:
        """Everything that was to come is that much nearer."""
        of = "(select make_interval(secs => %s) as s) of"
        run(self.pool, f"update catalogue_object set due_at = due_at - of.s, taken_until = taken_until - of.s from {of}", seconds)

    # What came of it.

    @property
    def tracks(self) -> dict[str, Any]:
        return {track.track_id: track for track in Tracks(pool=self.pool).all()}

    @property
    def contents(self) -> dict[str, str]:
        """track_id -> SHA-256 of the file it came from."""
        return {row["track_id"]: row["content_sha256"].hex() for row in rows(self.pool, "select track_id, content_sha256 from track")}

    @property
    def rejected(self) -> dict[str, list[str]]:
        found = rows(self.pool, "select key, reasons from catalogue_object where state = 'rejected'")
        return {row["key"].removeprefix("catalogue/"): row["reasons"] for row in found}

    @property
    def notices(self) -> dict[str, Any]:
        """Below `_rejected/`, by the rest of the key."""
        prefix = "catalogue/_rejected/"
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())
        return {entry["Key"].removeprefix(prefix): json.loads(self.s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()) for entry in listed}


@cache
def _client(aws: AwsStandIn) -> Any:
    return aws.client("s3")


@contextmanager
def shelf_of(aws: AwsStandIn, pool: Pool, apart: WatchedApart, **settings: Any) -> Iterator[Shelf]:
    s3 = _client(aws)
    s3.create_bucket(Bucket=BUCKET)
    with tempfile.TemporaryDirectory() as folder:
        yield Shelf(s3=s3, pool=pool, apart=apart, folder=Path(folder), **settings)
