"""What the HTTP API answers in a second, and how soon: one client at a time, and eight at once.

    ONLY=api make bench-sources

The role is a process of its own, on loopback, in front of a PostgreSQL and a catalogue of this run's own; each client is a
thread here that keeps its connection and asks again as soon as it was answered. So clients, role and database share the
machine's cores, and a rate is what all of it does. Every answer is held to what it should be: what is refused is no answer.
"""

import http.client
import json
import operator
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import SecretStr

from bench.live_processes import family_cpu_s
from bench.rows import row
from earmark import clip
from earmark.api.tokens import SCOPES, Tokens
from earmark.clip import Clip
from earmark.fingerprint.window import fingerprint
from earmark.hits.ledger import Ledger
from earmark.index.catalogue import Tracks
from earmark.index.upkeep import step
from earmark.local import music, sound
from earmark.local.database import temporary_server
from earmark.local.worker import Worker
from earmark.model import FINGERPRINT_VERSION, Float32
from earmark.postgres import Pool, migrate, open_pool, transaction
from earmark.settings import Alerts, Database, Results
from hearing_sounds import at_8_khz
from hits_samples import NOON, STREAM, Clock, checkpoint, insert_stream, play
from index_catalogue import recording_of

_row: Final = partial(row, command="make bench-sources ONLY=api")
TRACKS: Final = 60
#: Plays on record of the stream that is asked for.
PLAYS: Final = 40
CLIP_S: Final = 10.0
CLIENTS: Final = (1, 8)
#: Of one request and number of clients: it ends with the first of the two.
REQUESTS_MAX, SECONDS_MAX = 800, 6.0
#: Asked before it counts, so that what is loaded once is.
WARM: Final = 3


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request, again and again."""

    name: str
    what: str
    method: str
    path: str
    body: bytes | None = None
    content_type: str = "application/json"
    #: Whether a document is what is asked for.
    right: Callable[[Any], bool]


@dataclass(frozen=True, kw_only=True)
class Seen:
    clients: int
    #: Of each request, in seconds.
    took_s: Sequence[float]
    wall_s: float
    #: The role's, with its children.
    cpu_s: float
    wrong: int


def rows() -> list[dict[str, Any]]:
    """Measures for a minute."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dsn = stack.enter_context(temporary_server())
        migrate(dsn)
        pool = stack.enter_context(open_pool(Database(dsn=SecretStr(dsn)), application_name="bench"))
        asked = _asked(folder, pool)
        token = Tokens(pool=pool).add("bench", SCOPES, days=1)
        environment = {
            "EARMARK_DATABASE__DSN": dsn,
            "EARMARK_API__HOST": "127.0.0.1",
            "EARMARK_API__PORT": "0",
            # What is measured is the work, not how much of it is allowed.
            "EARMARK_API__ADDRESS_REQUESTS_PER_MINUTE": "10000000",
            "EARMARK_API__TOKEN_REQUESTS_PER_MINUTE": "10000000",
            "EARMARK_API__IDENTIFY_AT_ONCE": "4",
            "AWS_REGION": "us-east-1",
        }
        log = folder / "role.log"
        with Worker(environment=environment, log=log, roles="api") as worker:
            port = _port(log)
            ask = partial(_measured, port=port, token=token, role=worker.pid)
            return [figure for one in asked for clients in CLIENTS for figure in _figures(one, ask(one, clients=clients))]


def _figures(asked: Asked, seen: Seen) -> list[dict[str, Any]]:
    name = f"API {asked.name}, {seen.clients} client{'s' if seen.clients > 1 else ''}"
    n = f"{asked.what}; {len(seen.took_s)} requests in {seen.wall_s:.1f} s"
    p50, p95 = (float(np.percentile(seen.took_s, q)) * 1e3 for q in (50, 95))
    return [
        _row(f"{name}: requests per second", len(seen.took_s) / seen.wall_s, "1/s", against=n, digits=1),
        _row(f"{name}: p50", p50, "ms", against=n, digits=1),
        _row(f"{name}: p95", p95, "ms", against=n, digits=1),
        _row(f"{name}: CPU of the role, each", 1e3 * seen.cpu_s / len(seen.took_s), "ms", against=n, digits=2),
        _row(f"{name}: answered as asked", 1 - seen.wrong / len(seen.took_s), "share", bar=1, met=operator.ge, against=n),
    ]


# ------------------------------------------------------------------------------------------------ what is asked


def _asked(folder: Path, pool: Pool) -> list[Asked]:
    pieces = music.catalogue(TRACKS)
    rendered: list[Float32] = []
    for piece in pieces:
        samples = music.render(piece)
        rendered = rendered or [samples]
        Tracks(pool=pool).add([recording_of(piece.track, fingerprint(at_8_khz(samples, music.RATE_HZ)), piece.track.track_id.encode())])
    while step(pool):
        pass
    track_id = pieces[0].track.track_id
    excerpt = rendered[0][20 * music.RATE_HZ : int((20 + CLIP_S) * music.RATE_HZ)]
    sound.write_wav(folder / "clip.wav", excerpt)
    heard = at_8_khz(excerpt, music.RATE_HZ)
    carried = clip.to_json(Clip(peaks=fingerprint(heard), duration_s=CLIP_S)).encode()

    def found(document: Any) -> bool:
        return [match["track_id"] for match in document["matches"]][:1] == [track_id] and document["fingerprint_version"] == FINGERPRINT_VERSION

    identify = Asked(name="identify landmarks", what=f"POST, of 10 s, {TRACKS} recordings", method="POST", path="/v1/identify", body=carried, right=found)
    return [
        Asked(
            name="GET track",
            what=f"one of {TRACKS}",
            method="GET",
            path=f"/v1/tracks/{track_id}",
            right=lambda document: document["track"]["track_id"] == track_id,
        ),
        Asked(
            name="GET stream",
            what=f"with {PLAYS} hits",
            method="GET",
            path=f"/v1/streams/{_stream(pool)}",
            right=lambda document: len(document["hits"]) == PLAYS,
        ),
        identify,
        replace(identify, name="identify audio", what=identify.what + ", as WAV", body=(folder / "clip.wav").read_bytes(), content_type="audio/wav"),
    ]


def _stream(pool: Pool) -> str:
    """A stream with some plays on record."""
    with transaction(pool) as connection:
        lease = insert_stream(connection)
    ledger = Ledger(pool=pool, lease=lease, tracks=Tracks(pool=pool), results=Results(), alerts=Alerts(), nudge=lambda: None, now=Clock(NOON))
    plays = [play(f"recording-{n}", begin_s=100.0 * n, state="closed") for n in range(PLAYS)]
    ledger.commit(checkpoint(100.0 * PLAYS), plays)
    return STREAM.stream_id


def _port(log: Path) -> int:
    """As the role's log says."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return next(int(line["port"]) for line in lines if line["event"] == "api.listening")


# ------------------------------------------------------------------------------------------------ asking


def _measured(asked: Asked, *, clients: int, port: int, token: str, role: int) -> Seen:
    left, turn, start = [REQUESTS_MAX], threading.Lock(), threading.Barrier(clients + 1)

    def one_more() -> bool:
        with turn:
            left[0] -= 1
            return left[0] >= 0 and time.monotonic() < until

    def client() -> tuple[list[float], int]:
        took_s, wrong = list[float](), 0
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            for _ in range(WARM):
                _ask(connection, asked, token)
            start.wait(60)
            while one_more():
                began = time.perf_counter()
                right = _ask(connection, asked, token)
                took_s.append(time.perf_counter() - began)
                wrong += not right
        return took_s, wrong

    until = float("inf")
    with ThreadPoolExecutor(clients) as threads:
        answers = [threads.submit(client) for _ in range(clients)]
        while start.n_waiting < clients and not any(answer.done() for answer in answers):
            time.sleep(0.01)
        began, cpu_s = time.monotonic(), family_cpu_s(role)
        until = began + SECONDS_MAX
        start.wait(60)
        done = [answer.result() for answer in answers]
        wall_s, cpu_s = time.monotonic() - began, family_cpu_s(role) - cpu_s
    return Seen(clients=clients, took_s=[one for took_s, _ in done for one in took_s], wall_s=wall_s, cpu_s=cpu_s, wrong=sum(wrong for _, wrong in done))


def _ask(connection: http.client.HTTPConnection, asked: Asked, token: str) -> bool:
    connection.request(asked.method, asked.path, asked.body, {"Authorization": f"Bearer {token}", "Content-Type": asked.content_type})
    response = connection.getresponse()
    body = response.read()
    return response.status == 200 and asked.right(json.loads(body))
