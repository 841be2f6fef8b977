"""More than a process can do, for all of its streams at once: each has its turn, and when it is over they go their own ways again.

Sessions, the compute thread, PostgreSQL and S3 are the real ones; nothing is timed, turns are counted.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from psycopg.conninfo import conninfo_to_dict

import hits_samples as samples
from earmark.aws import Clients
from earmark.compute import Compute
from earmark.errors import DatabaseUnavailable
from earmark.hits.ledger import Ledger
from earmark.hits.outbox import Publisher
from earmark.hits.record import Outgoing
from earmark.hits.sinks import S3Sink, Sent, Sink, SnsSink
from earmark.index.answers import Index
from earmark.index.lookups import Turn
from earmark.local.aws import AwsStandIn
from earmark.model import RATE_HZ, Answer, AudioChunk, CatalogueSize, Checkpoint, Lookup, Piece, Play, Postings, Question, Segment
from earmark.postgres import Pool, open_pool, transaction
from earmark.session import AGAIN_S_MAX, Session, Signals, Stop
from earmark.settings import Alerts, Aws, Database, Outbox, Results
from faults.http_proxy import HttpProxy, aws_way
from faults.schedule import Injected, Odds, Schedule
from faults.tcp_proxy import TcpProxy

#: Reached by no test that passes.
PATIENCE_S = 60.0
SEGMENT_S = 2.0


# ------------------------------------------------------------------------------------------------ one compute thread


class Turns:
    """Who had the compute thread, in order: each turn a piece of media, of the stream that is named."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self._changed = threading.Condition()

    def add(self, stream: str) -> None:
        with self._changed:
            self.order.append(stream)
            self._changed.notify_all()

    def reached(self, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.order) >= count, PATIENCE_S)

    def of(self, stream: str) -> list[int]:
        return [place for place, other in enumerate(self.order) if other == stream]

    def counts(self) -> Counter[str]:
        return Counter(self.order)


class Behind:
    """A source with so many segments in hand already, as all have after a stall; None: one that is always ahead of real time."""

    rendition, fetched_bytes, end_reason = "", 0, "endlist"

    def __init__(self, signals: Signals, count: int | None, *, lasting: bool) -> None:
        self._signals, self._count, self.lasting = signals, count, lasting

    def pieces(self) -> Iterator[Piece]:
        given = 0
        while not self._signals.leaving and (self._count is None or given < self._count):
            given += 1
            yield Segment(data=b"", container="aac", duration_s=SEGMENT_S, fetched_at=datetime.now(UTC))


class Costly:
    """Decoder and hearing of one stream: a turn costs so much, without the interpreter's lock as in FFmpeg and NumPy."""

    plays: tuple[Play, ...] = ()

    def __init__(self, stream: str, turns: Turns, cost_s: float, questions: int) -> None:
        self._stream, self._turns, self._cost_s, self._questions = stream, turns, cost_s, questions
        self._at_s, self._asked = 0.0, 0

    def push(self, piece: Segment) -> list[AudioChunk]:
        self._turns.add(self._stream)
        time.sleep(self._cost_s)
        chunk = AudioChunk(samples=np.zeros(round(piece.duration_s * RATE_HZ), np.float32), start_s=self._at_s)
        self._at_s = chunk.end_s
        return [chunk]

    def flush(self) -> Any:
        return []

    def resize(self, size: CatalogueSize) -> None: ...

    def take(self, chunk: AudioChunk) -> None:
        self._asked += self._questions

    def hear(self) -> Any:
        while self._asked:
            self._asked -= 1
            yield Lookup(hashes=np.zeros(1, np.int32), postings_max=10)
        return []

    def take_music(self) -> list[Any]:
        return []

    def take_speech(self) -> list[Any]:
        return []


class Hearing(Costly):
    def flush(self) -> Any:
        return []
        yield


class Desk:
    """What the sessions share beside the compute thread: a catalogue that knows nothing, a record, a meter."""

    def __init__(self) -> None:
        self.checkpoints: dict[str, Checkpoint] = {}

    def answer(self, _question: Question) -> Answer:
        return Postings.none()

    def size(self) -> CatalogueSize:
        return CatalogueSize(tracks=0, seconds=0, postings=0)

    def heard(self, **_: Any) -> None: ...

    def music(self, **_: Any) -> None: ...


class Notes:
    def __init__(self, desk: Desk, stream: str) -> None:
        self._desk, self._stream = desk, stream

    def commit(self, checkpoint: Checkpoint, _changed: Any) -> None:
        self._desk.checkpoints[self._stream] = checkpoint

    def note(self, checkpoint: Checkpoint) -> float:
        self.commit(checkpoint, ())
        return checkpoint.position_s


def session(
    stream: str,
    desk: Desk,
    compute: Compute,
    turns: Turns,
    signals: Signals,
    *,
    pieces: int | None,
    cost_s: float,
    questions: int = 1,
    clock: Callable[[], float] = time.monotonic,
    lasting: bool = False,
) -> Session:
    hearing = Hearing(stream, turns, cost_s, questions)
    return Session(
        checkpoint=Checkpoint(),
        source=Behind(signals, pieces, lasting=lasting),  # type: ignore[arg-type]
        decoder=Costly(stream, turns, cost_s, questions),
        hearing=hearing,  # type: ignore[arg-type]
        catalogue=desk,
        recorder=Notes(desk, stream),
        compute=compute,
        signals=signals,
        meter=desk,  # type: ignore[arg-type]
        now=lambda: datetime.now(UTC),
        buffer_s=300,
        clock=clock,
    )


@pytest.fixture
def compute() -> Iterator[Compute]:
    made = Compute().start()
    yield made
    made.close()


def test_two_hundred_streams_that_come_back_together_catch_up_side_by_side(compute: Compute) -> None:
    streams, pieces = [f"st-{n}" for n in range(200)], 8
    turns, desk, begun = Turns(), Desk(), threading.Barrier(len(streams))

    def run(stream: str) -> Any:
        listening = session(stream, desk, compute, turns, Signals(), pieces=pieces, cost_s=0.000_5)
        begun.wait(PATIENCE_S)
        return listening.run()

    with ThreadPoolExecutor(len(streams)) as threads:
        assert set(threads.map(run, streams)) == {"endlist"}
    assert turns.counts() == dict.fromkeys(streams, pieces)
    assert {desk.checkpoints[stream].heard_s for stream in streams} == {pieces * SEGMENT_S}
    # When the first has caught up, everybody has done half of it at least.
    first = min(turns.of(stream)[-1] for stream in streams)
    assert min(sum(place <= first for place in turns.of(stream)) for stream in streams) >= pieces / 2
    # Nobody waits more than twice as long for his next turn as the one in the middle.
    apart = [float(np.median(np.diff(turns.of(stream)))) for stream in streams]
    assert max(apart) <= 2 * np.median(apart)


def test_streams_that_ask_more_are_not_later_than_those_that_ask_less(compute: Compute) -> None:
    """Where there is not time enough for all: a third of them has plays open, which takes eight questions a piece, the others' one."""
    asks = {f"st-{n}": 1 if n % 3 else 8 for n in range(60)}
    turns, desk, begun, signals, heard = Turns(), Desk(), threading.Barrier(len(asks)), Signals(), 20

    def run(stream: str) -> Any:
        listening = session(stream, desk, compute, turns, signals, pieces=None, cost_s=0.001, questions=asks[stream])
        begun.wait(PATIENCE_S)
        return listening.run()

    with ThreadPoolExecutor(len(asks)) as threads:
        running = [threads.submit(run, stream) for stream in asks]
        assert turns.reached(heard * len(asks))
        signals.request(Stop.HANDOVER)
        assert {run.result(PATIENCE_S) for run in running} == {None}
    counts = Counter(turns.order[: heard * len(asks)])
    assert min(counts.values()) >= heard / 2
    assert max(counts.values()) <= 2 * heard
    much, little = (np.median([counts[stream] for stream in asks if asks[stream] == questions]) for questions in (8, 1))
    assert little < 1.5 * much


def test_a_stream_that_runs_ahead_and_one_that_costs_much_get_no_more_than_their_turn(compute: Compute) -> None:
    others, pieces = [f"st-{n}" for n in range(40)], 10
    turns, desk, begun, signals = Turns(), Desk(), threading.Barrier(len(others) + 2), Signals()

    def run(stream: str) -> Any:
        greedy, dear = stream == "st-greedy", stream == "st-dear"
        own = signals if greedy or dear else Signals()
        listening = session(stream, desk, compute, turns, own, pieces=None if greedy or dear else pieces, cost_s=0.01 if dear else 0.001)
        begun.wait(PATIENCE_S)
        return listening.run()

    with ThreadPoolExecutor(len(others) + 2) as threads:
        endless = [threads.submit(run, stream) for stream in ("st-greedy", "st-dear")]
        try:
            assert set(threads.map(run, others)) == {"endlist"}
        finally:
            signals.request(Stop.HANDOVER)
        assert [run.result(PATIENCE_S) for run in endless] == [None, None]
    counts = turns.counts()
    last = max(turns.of(stream)[-1] for stream in others)
    had = {stream: sum(place <= last for place in turns.of(stream)) for stream in ("st-greedy", "st-dear")}
    assert {counts[stream] for stream in others} == {pieces}
    assert max(had.values()) <= 2 * pieces


# ------------------------------------------------------------------------------------------------ a database that is slow


def always_late(way: str, seconds: float) -> Schedule:
    return Schedule(seed=1, injected=Injected(), odds={way: Odds(percent={"delay": 100.0}, delay_s=(seconds, seconds))})


def socket_of(dsn: str) -> str:
    return f"{conninfo_to_dict(dsn)['host']}/.s.PGSQL.5432"


def by_way_of(proxy: TcpProxy, dsn: str) -> str:
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/{conninfo_to_dict(dsn)['dbname']}?sslmode=disable&gssencmode=disable"


def test_of_two_hundred_who_ask_a_slow_database_a_few_ask_for_all(dsn: str) -> None:
    askers, delay_s = 200, 0.5
    turns: list[Turn] = []
    slow = always_late("postgres", delay_s)
    slow.calm()
    with TcpProxy(upstream=socket_of(dsn), schedule=slow, way="postgres") as proxy, open_pool(Database(dsn=by_way_of(proxy, dsn))) as pool:
        index = Index(pool=pool, follow_every_s=3600, observe=turns.append).open()
        index.answer(Lookup(hashes=np.arange(9, dtype=np.int32), postings_max=10))  # connections are there
        turns.clear()
        slow.resume()
        ready = threading.Barrier(askers)

        def ask(number: int) -> None:
            ready.wait(PATIENCE_S)
            index.answer(Lookup(hashes=np.arange(number, number + 100, dtype=np.int32), postings_max=10))

        with ThreadPoolExecutor(askers) as threads:
            list(threads.map(ask, range(askers)))
    assert sum(turn.questions for turn in turns) == askers
    assert len(turns) <= 6  # two are under way at a time, and who waits has the next one; the first to ask may be alone


class Away(Desk):
    """A catalogue that is away until a time, by one session's clock, which its waits move."""

    def __init__(self, back_s: float) -> None:
        super().__init__()
        self.now_s, self._back_s = 0.0, back_s

    def answer(self, question: Question) -> Answer:
        if self.now_s < self._back_s:
            raise DatabaseUnavailable("away")
        return super().answer(question)

    def wait(self, seconds: float) -> bool:
        self.now_s += seconds
        return False


def test_after_an_outage_each_session_asks_again_at_a_time_of_its_own(compute: Compute) -> None:
    back_s, sessions, asked_at = 60.0, 200, []
    for number in range(sessions):
        desk, signals = Away(back_s), Signals()
        signals.wait = desk.wait  # type: ignore[method-assign]
        listening = session(f"st-{number}", desk, compute, Turns(), signals, pieces=1, cost_s=0, clock=lambda desk=desk: desk.now_s, lasting=True)
        assert listening.run() == "endlist"
        asked_at.append(desk.now_s)
    # Within the longest wait between two questions, and not at once: four in a tenth of a second on the average.
    assert back_s <= min(asked_at) <= max(asked_at) <= back_s + AGAIN_S_MAX
    assert np.histogram(asked_at, np.arange(back_s, back_s + AGAIN_S_MAX + 0.1, 0.1))[0].max() < sessions / 10


# ------------------------------------------------------------------------------------------------ an S3 that is slow


class Watched:
    """A sink, and how many sends were under way at once."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self._lock = sink, threading.Lock()
        self.now, self.most, self.begun = 0, 0, threading.Semaphore(0)
        self.sent: list[tuple[str, int]] = []

    def send(self, item: Outgoing) -> Sent:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.begun.release()
        try:
            return self._sink.send(item)
        finally:
            with self._lock:
                self.now -= 1
                self.sent.append((item.key, item.revision))


class Silent:
    def published(self, **_: Any) -> None: ...

    def owed(self, **_: Any) -> None: ...


def test_an_s3_that_takes_five_seconds_for_each_put_gets_the_newest_of_each_and_nothing_twice(pool: Pool, aws: AwsStandIn) -> None:
    deployed, threads, plays = aws.deploy(), 4, [samples.play(begin_s=100.0 * n) for n in range(1, 4)]
    with transaction(pool) as connection:
        lease = samples.insert_stream(connection)
    ledger = Ledger(
        pool=pool,
        lease=lease,
        tracks=samples.Catalogue(samples.TRACK),
        results=Results(bucket=deployed.results_bucket),
        alerts=Alerts(topic_arn=deployed.topic_arn),
        nudge=lambda: None,
        now=samples.Clock(),
    )
    with HttpProxy(upstream=aws.endpoint_url.removeprefix("http://"), schedule=always_late("s3", 5.0), way=aws_way, watch=frozenset({"s3"})) as proxy:
        slow = Clients(Aws(endpoint_url=f"http://{proxy.address}"))
        s3, sns = (Watched(sink) for sink in (S3Sink(client=slow.s3, bucket=deployed.results_bucket), SnsSink(client=slow.sns, topic_arn=deployed.topic_arn)))
        publisher = Publisher(pool=pool, sinks={"s3": s3, "sns": sns}, settings=Outbox(threads=threads), stop=threading.Event(), metrics=Silent())
        ledger.commit(samples.checkpoint(), plays)
        with ThreadPoolExecutor(1) as runs:
            drained = runs.submit(publisher.drain, limit_s=PATIENCE_S)
            for _ in range(threads):
                assert s3.begun.acquire(timeout=PATIENCE_S)
            for revision in (2, 3):  # while the first are being sent
                ledger.commit(samples.checkpoint(130.0 + revision), [replace(play, revision=revision) for play in plays])
            assert drained.result(PATIENCE_S)
    assert max(s3.most, sns.most, threads) == threads
    hits = [f"{lease.stream.stream_id}/hits/{play.hit_id}.json" for play in plays]
    of_hits = sorted(sent for sent in s3.sent if sent[0] in hits)
    assert of_hits == sorted((key, revision) for key in hits for revision in (1, 3))  # what waited was replaced
    assert len(s3.sent) == len(set(s3.sent)) == len(proxy.passed)
    assert sorted(sns.sent) == sorted((play.hit_id, 1) for play in plays)
    client = aws.client("s3")
    assert {client.head_object(Bucket=deployed.results_bucket, Key=key)["Metadata"]["earmark-revision"] for key in hits} == {"3"}
