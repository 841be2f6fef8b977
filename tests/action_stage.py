"""What tests of actions share: a stream of Amazon IVS that is live in the stand-in and heard by a session, and a worker's sinks."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import hits_samples as samples
from earmark.actions import composing
from earmark.actions.acting import Acting
from earmark.actions.wanted import carried_out
from earmark.aws import Clients
from earmark.control.channels import Channels
from earmark.control.playback import unsigned
from earmark.hits.ledger import Ledger
from earmark.hits.outgoing import Outgoing
from earmark.hits.rights import Policy
from earmark.hits.sinks import Sink
from earmark.local.aws import AwsStandIn
from earmark.model import Play
from earmark.postgres import Pool, transaction
from earmark.settings import Alerts, Aws, Results, Settings

RESULTS = Results(bucket="results", prefix="eu/")


class Meter:
    """Counts as `telemetry` does."""

    def __init__(self) -> None:
        self.results: list[tuple[str, str]] = []

    def acted(self, *, kind: str, result: str) -> None:
        self.results.append((kind, result))

    def ivs_called(self, operation: str, *, waited_s: float) -> None:
        assert waited_s >= 0


class Stage:
    """Stream time 0 is when the stream went live; the play begins at 100 s and is unwanted, with 20 s of grace."""

    def __init__(self, pool: Pool, aws: AwsStandIn, *, name: str = "on-air", **sections: Any) -> None:
        self.pool, self.aws, self.meter, self.clock = pool, aws, Meter(), samples.Clock()
        self.channel = aws.put_channel(name)
        self.stream = replace(samples.STREAM, stream_id=f"st-{name}", channel_arn=self.channel)
        aws.go_live(self.channel, self.stream.stream_id, "")
        self.settings = Settings.model_validate({"results": RESULTS, **sections})
        self.action, self.grace_s = "block", 20.0
        with transaction(pool) as connection:
            self.lease = samples.insert_stream(connection, stream=self.stream)
        self.recorder = self.ledger()

    def ledger(self, **changed: Any) -> Ledger:
        offers = composing.offers(self.settings)
        return Ledger(
            **{
                "pool": self.pool,
                "lease": self.lease,
                "tracks": samples.Catalogue(samples.TRACK),
                "results": self.settings.results,
                "alerts": Alerts(),
                "nudge": lambda: None,
                "now": self.clock,
                "decide": carried_out(lambda _track, _play: Policy(action=self.action, reason="r", dry_run=True, grace_s=self.grace_s), offers),
                "act": Acting(offers, meter=self.meter),
                **changed,
            }
        )

    def play(self, state: str = "open", *, revision: int = 1, length_s: float = 11.0, begin_s: float = 100.0, **changed: Any) -> Play:
        hit_id = f"{self.stream.stream_id}-{begin_s:.0f}"
        return samples.play(state=state, revision=revision, begin_s=begin_s, length_s=length_s, hit_id=hit_id, **changed)

    def heard(self, *changed: Play, until_s: float, playing: Sequence[Play] = (), ended: bool = False) -> None:
        """The session has heard so much, and these plays have changed; `playing`: those that go on unchanged."""
        going_on = [play for play in (*changed, *playing) if play.state != "closed"]
        checkpoint = samples.checkpoint(until_s, plays=tuple(going_on), state="ended" if ended else "listening", end_reason="stream_end" if ended else None)
        self.recorder.commit(checkpoint, changed)

    def sinks(self, **sections: Any) -> dict[str, Sink]:
        """Of a worker, perhaps one with other settings."""
        settings = Settings.model_validate({**{name: getattr(self.settings, name) for name in Settings.model_fields}, **sections})
        clients = _clients(self.aws.endpoint_url)
        channels = Channels(ivs=clients.ivs, medialive=None, settings=Aws(ivs_calls_per_s=1_000), meter=self.meter, wait=lambda _: False, signed=unsigned)  # type: ignore[arg-type]
        return dict(composing.sinks(settings, pool=self.pool, clients=clients, live_stream_id=channels.live_stream_id, meter=self.meter))

    def waiting(self, target: str) -> list[Outgoing]:
        """Rows of the outbox, in order, as the publisher hands them to a sink."""
        query = "select stream_id, key, revision, content_type, body, attributes from outbox where target = %s and stream_id = %s order by outbox_id"
        names = ("stream_id", "key", "revision", "content_type", "body", "attributes")
        return [Outgoing(target=target, **dict(zip(names, row, strict=True))) for row in self.execute(query, target, self.stream.stream_id)]  # type: ignore[arg-type]

    def execute(self, query: str, *parameters: Any) -> list[Any]:
        with transaction(self.pool) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def hit(self, hit_id: str = "") -> dict[str, Any]:
        """As PostgreSQL has it, which is what is about to be in S3."""
        hit_id = hit_id or f"{self.stream.stream_id}-100"
        ((body, revision),) = self.execute("select body, revision from play where hit_id = %s", hit_id)
        samples.validator("hit").validate(body)
        assert body["revision"] == revision
        ((stored, sent),) = self.execute("select body, revision from outbox where key like %s order by outbox_id desc limit 1", f"%/hits/{hit_id}.json")
        assert (json.loads(stored), sent) == (body, revision)
        return dict(body)

    def told(self, hit_id: str = "") -> list[tuple[str, str | None, str, str]]:
        """Kind, occasion, state and detail of a hit's actions."""
        return [(action["kind"], action["occasion"], action["state"], action["detail"]) for action in self.hit(hit_id)["actions"]]

    def done(self) -> list[str]:
        return [done["operation"] for done in self.aws.broadcasts() if done["channel_arn"] == self.channel]


@cache
def _clients(endpoint_url: str) -> Clients:
    return Clients(Aws(endpoint_url=endpoint_url, region="us-east-1", attempts_max=1))


def another(stage: Stage, name: str) -> Stage:
    """Another stream, heard in the same database with the same settings."""
    return Stage(
        stage.pool, stage.aws, name=name, **{section: getattr(stage.settings, section) for section in ("stop_stream", "now_playing", "webhook", "eventbridge")}
    )
