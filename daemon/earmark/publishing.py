"""What leaves a worker, and by whom: documents and messages to AWS by one publisher, hits to a webhook by another, what is done to streams by a third.

A webhook is somebody else's server, which may take its time: it holds up the threads of its own publisher, and no others. What is
done to a stream is done now or in vain: it waits for no bucket that takes its time.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from earmark.actions import composing, telling
from earmark.aws import Clients
from earmark.hits.outbox import Publisher, PublisherMetrics
from earmark.hits.record import Target
from earmark.hits.sinks import S3Sink, Sink, SnsSink
from earmark.postgres import Pool
from earmark.settings import Settings

#: A call to Amazon IVS takes some tenths of a second, and its own limits keep them apart.
BROADCAST_THREADS: Final = 4
BROADCASTS: Final[tuple[Target, ...]] = ("ivs_stop", "ivs_metadata")


class Meter(PublisherMetrics, telling.Meter, Protocol):
    """What is counted: `telemetry`."""


class Publishing:
    """The publishers of a worker, each to be run on a thread of its own."""

    def __init__(
        self,
        *,
        settings: Settings,
        pool: Pool,
        clients: Clients,
        live_stream_id: Callable[[str], str | None],
        stop: threading.Event,
        metrics: Meter,
    ) -> None:
        acts = composing.sinks(settings, pool=pool, clients=clients, live_stream_id=live_stream_id, meter=metrics)
        to_aws = {**_sinks(settings, clients), **acts}
        elsewhere: dict[Target, Sink] = {"webhook": to_aws.pop("webhook")} if settings.webhook.mode == "on" else {}
        is_on = "on" in (settings.stop_stream.mode, settings.now_playing.mode)
        broadcasts: dict[Target, Sink] = {target: to_aws.pop(target) for target in BROADCASTS} if is_on else {}
        #: How long somebody else's server may take for what was begun when the worker ends.
        self._sends_s = {"webhooks": settings.webhook.deadline_s}
        self._publishers = {"publisher": Publisher(pool=pool, sinks=to_aws, settings=settings.outbox, stop=stop, metrics=metrics)}
        if elsewhere:
            own = settings.outbox.model_copy(update={"threads": settings.webhook.threads})
            self._publishers["webhooks"] = Publisher(pool=pool, sinks=elsewhere, settings=own, stop=stop, metrics=metrics)
        if broadcasts:
            own = settings.outbox.model_copy(update={"threads": BROADCAST_THREADS})
            self._publishers["broadcasts"] = Publisher(pool=pool, sinks=broadcasts, settings=own, stop=stop, metrics=metrics)

    @property
    def age_s(self) -> float:
        """As `Publisher.age_s`, of the one that is stuck if one is."""
        return max(publisher.age_s for publisher in self._publishers.values())

    def nudge(self) -> None:
        """As `Publisher.nudge`."""
        for publisher in self._publishers.values():
            publisher.nudge()

    def loops(self) -> Iterator[tuple[str, Callable[[], None], float]]:
        """By name; each ends when `stop` is set and it was nudged, and, beyond what AWS takes, within so many seconds."""
        for name, publisher in self._publishers.items():
            yield name, publisher.run, self._sends_s.get(name, 0.0)


def _sinks(settings: Settings, clients: Clients) -> Mapping[Target, Sink]:
    sinks: dict[Target, Sink] = {}
    if settings.results.bucket:
        sinks["s3"] = sinks["clip"] = S3Sink(client=clients.s3, bucket=settings.results.bucket)
    if settings.check.place:
        sinks["check"] = S3Sink(client=clients.s3, bucket=settings.check.place.removeprefix("s3://").partition("/")[0], named="check.place")
    if settings.alerts.topic_arn:
        sinks["sns"] = SnsSink(client=clients.sns, topic_arn=settings.alerts.topic_arn)
    return sinks
