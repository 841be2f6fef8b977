"""`earmark demo`: everything on one machine, from the event of a stream's start to the hit in S3 and the mail.

    generated music -> HLS origin ─────────────────────────┐
    Stream Start -> event bus -> rule -> queue -> `earmark run` (its own process) -> PostgreSQL -> S3, SNS -> mail

Nothing is simulated between the event and the mail but AWS itself: a real PostgreSQL, real HTTP, real AAC in real time.
The daemon knows nothing of the programme; what it put on record is compared with the truth at the end.
"""

import json
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from earmark.local import programme as programmes
from earmark.local.aws import Mail
from earmark.local.display import Display, display
from earmark.local.music import RATE_HZ
from earmark.local.origin import Broadcast, Origin
from earmark.local.programme import Programme
from earmark.local.stand import Stand, prepare, write_m4a
from earmark.local.surroundings import Channel, say, terminated_as_interrupted
from earmark.local.verdict import judge

CHANNEL = "late-night-radio"
STREAM_ID = "st-1DemoStreamOfEarmark"
#: How long after its end a stream may take to be closed, summarised and published.
END_S = 45.0
_METRICS = ('earmark_media_seconds_total{result="heard"}', 'earmark_published_total{result="sent",target="s3"}')


def run_demo(*, keep: bool = False, kill: bool = False, music: Path | None = None, out: Path = Path("build/demo")) -> int:
    """Set up, play, compare; 0 when everything on air was heard and nothing else, 1 otherwise.

    Args:
        keep: leave everything running until Ctrl-C.
        kill: kill the daemon half-way and start it again.
        music: a folder of the visitor's own recordings.
        out: where the mixed audio and what S3 held are left.
    """
    prepare(out, ("stream.m4a", "mails.txt"))
    with ExitStack() as stack:
        stack.enter_context(terminated_as_interrupted())
        stage = _Stage(stack, out=out, own=music)
        seen = _Watch(stage)
        with display() as shown:
            seen.follow(shown, kill=kill)
        ok = _report(stage, seen, out, killed=kill)
        if keep:
            _linger(stage)
    return 0 if ok else 1


class _Stage:
    """Everything that has to stand before the stream starts."""

    def __init__(self, stack: ExitStack, *, out: Path, own: Path | None) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="earmark-demo-")))
        say("music", "reading yours" if own else "composing twelve pieces and something to say over them")
        programme = programmes.from_files(own) if own else programmes.generated(folder)
        write_m4a(out / "stream.m4a", programme.samples)
        self.stand = Stand(stack, out=out)
        self.programme: Programme = self.stand.catalogue(programme)
        self.aws, self.deployed = self.stand.aws, self.stand.deployed
        self.origin: Origin = stack.enter_context(Origin())
        self.channel = Channel(CHANNEL, aws=self.aws, origin=self.origin)
        self.stand.start(hls__allow_private=self.origin.address)
        self.worker = self.stand.worker
        self.metrics_before = self.worker.metrics()
        say("ready", f"after {self.stand.took_s:.0f} s; the stream lasts {self.programme.parts[-1].end_s:.0f} s\n")


class _Watch:
    """The stream, seen from outside: the clock, the bucket and the mailbox."""

    def __init__(self, stage: _Stage) -> None:
        self._stage = stage
        self._s3 = stage.aws.client("s3")
        self._etags: dict[str, str] = {}
        self.hits: dict[str, Mapping[str, Any]] = {}
        self.mails: list[Mail] = []
        #: hit_id -> stream time at which it was first to be read.
        self.told_after_s: dict[str, float] = {}
        self.summary: Mapping[str, Any] | None = None
        self._broadcast: Broadcast
        self._shown: Display

    def follow(self, shown: Display, *, kill: bool) -> None:
        """From the first sample on air until the stream's summary says that it is over."""
        stage, self._shown = self._stage, shown
        self._broadcast = stage.channel.put_on_air(stage.origin.encoded(CHANNEL, stage.programme.samples, rate_hz=RATE_HZ))
        self._until(self._broadcast.on_air - self._broadcast.begin)
        stage.channel.start(STREAM_ID, self._broadcast)
        shown.note(self._now_s, f"Stream Start of {STREAM_ID} is on the event bus")
        if kill:
            self._until(self._broadcast.duration_s / 2)
            stage.worker.kill()
            shown.note(self._now_s, "the daemon was killed (SIGKILL) and is started again")
            stage.worker.start()
        self._until(self._broadcast.duration_s)
        stage.channel.end(STREAM_ID)
        shown.note(self._now_s, "Stream End is on the event bus")
        self._until(self._broadcast.duration_s + END_S, ended=True)

    @property
    def _now_s(self) -> float:
        return time.time() - self._broadcast.begin

    def _until(self, stream_s: float, *, ended: bool = False) -> None:
        while self._now_s < stream_s:
            self._look()
            if ended and self._over():
                return
            self._stage.worker.check()
            time.sleep(max(0.0, min(0.25, stream_s - self._now_s)))

    def _over(self) -> bool:
        """Ended, and nothing of it still on its way out: the last things are all there."""
        keys = {key.rpartition("/")[2] for key in self._etags}
        closed = all(hit["state"] == "closed" for hit in self.hits.values())
        told = not self.hits or any(mail.attributes.get("state") == "ended" for mail in self.mails)
        return self.summary is not None and self.summary["state"] == "ended" and closed and told and {"cue-sheet.csv", "report.html"} <= keys

    def _look(self) -> None:
        now_s = self._now_s
        part = self._stage.programme.at(now_s)
        self._shown.on_air(now_s, part.what if part else "nothing any more")
        for listed in self._s3.list_objects_v2(Bucket=self._stage.deployed.results_bucket).get("Contents", []):
            key, etag = listed["Key"], listed["ETag"]
            if self._etags.get(key) != etag:
                self._etags[key] = etag
                self._read(key, now_s)
        for mail in self._stage.aws.mails()[len(self.mails) :]:
            self.mails.append(mail)
            self._shown.mail(now_s, mail)

    def _read(self, key: str, now_s: float) -> None:
        if not key.endswith(".json"):
            return
        document = json.loads(self._s3.get_object(Bucket=self._stage.deployed.results_bucket, Key=key)["Body"].read())
        if "/hits/" in key:
            self.told_after_s.setdefault(document["hit_id"], now_s)
            self.hits[document["hit_id"]] = document
            self._shown.hit(now_s, document)
        elif key.endswith("/stream.json"):
            self.summary = document


# ------------------------------------------------------------------------------------------------ afterwards


def _report(stage: _Stage, seen: _Watch, out: Path, *, killed: bool) -> bool:
    keys = stage.stand.save(stage.deployed.results_bucket, out / "s3")
    (out / "mails.txt").write_text("\n\n".join(f"To: {mail.to}\nSubject: {mail.subject}\n\n{mail.text}" for mail in seen.mails), encoding="utf-8")
    print(f"\nWhat S3 holds (s3://{stage.deployed.results_bucket}/):")
    for key, size in keys:
        print(f"  {size:>8,} bytes  {key}")
    hits = sorted(seen.hits.values(), key=lambda hit: float(hit["query"]["begin_s"]))
    if hits:
        print("\nThe first hit:")
        print(json.dumps(hits[0], indent=2, ensure_ascii=False))
    if seen.mails:
        print(f"\nThe first mail, to {seen.mails[0].to}:\nSubject: {seen.mails[0].subject}\n")
        print(seen.mails[0].text)
    _print_metrics(stage, killed=killed)
    print("\nOn air, and on record:")
    findings = judge(stage.programme, hits, summary=seen.summary, told_after_s=seen.told_after_s)
    for finding in findings:
        print(f"  {finding}")
    ok = all(finding.ok for finding in findings)
    if killed and ok:
        print("  ok     the daemon was killed half-way: each play is on record once, under one hit_id, and no second is missing from the account")
    print(f"\n{'What was on air is on record, and nothing else.' if ok else f'NOT as it was: see the lines marked WRONG, and {out}/daemon.log'}")
    print("\nLeft for you:")
    report = next((key for key, _ in keys if key.endswith("report.html")), "")
    for name, what in (("stream.m4a", "what was on air"), (f"s3/{report}", "the report"), ("mails.txt", "all mails"), ("daemon.log", "the daemon's own lines")):
        print(f"  {out / name}  {what}")
    return ok


def _print_metrics(stage: _Stage, *, killed: bool) -> None:
    after = stage.worker.metrics()
    print(f"\nTwo of its metrics, {'since it was started again' if killed else 'before and after'}:")
    for name in _METRICS:
        print(f"  {name}  {_value(stage.metrics_before, name):g} -> {_value(after, name):g}")


def _value(scraped: str, name: str) -> float:
    return next((float(line.rpartition(" ")[2]) for line in scraped.splitlines() if line.startswith(name + " ")), 0.0)


def _linger(stage: _Stage) -> None:
    print("\nEverything stays up until Ctrl-C:")
    print(f"  metrics    {stage.worker.metrics_url}")
    print(f"  AWS        {stage.aws.endpoint_url}, e.g. aws --endpoint-url {stage.aws.endpoint_url} s3 ls --recursive s3://{stage.deployed.results_bucket}")
    print(f"  database   EARMARK_DATABASE__DSN='{stage.stand.dsn}', e.g. before `.venv/bin/earmark streams list --all`")
    print(f"  playlist   http://{stage.origin.address}/{CHANNEL}/master.m3u8")
    try:
        while True:
            stage.worker.check()
            time.sleep(1)
    except KeyboardInterrupt:
        print("\nStopping.")
