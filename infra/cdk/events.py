"""How what happens becomes known: EventBridge rules, whose target is the one queue."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_s3 as s3
from constructs import Construct

from queues import Queues

#: Where in the bucket of what people bring: the daemon's catalogue.place and check.place.
CATALOGUE, CHECK = "catalogue/", "check/"


class Events(Construct):
    """All rules listen on the account's default bus, to which AWS's services write."""

    def __init__(self, scope: Construct, name: str, *, queues: Queues, brought: s3.IBucket, archives: Sequence[s3.IBucket], recordings: bool) -> None:
        super().__init__(scope, name)
        self._queues = queues
        streams = ["Session Created", "Stream Start", "Stream End", "Session Ended", "Stream Failure", "Stream Takeover", "Stream Takeover Failure"]
        self._rule("IvsStreams", "aws.ivs", ["IVS Stream State Change"], {"event_name": streams})
        self._rule("IvsHealth", "aws.ivs", ["IVS Stream Health Change"])
        if recordings:
            self._rule("IvsRecordings", "aws.ivs", ["IVS Recording State Change"])
        self._rule("MediaLiveChannels", "aws.medialive", ["MediaLive Channel State Change", "MediaLive Channel Alert"])
        both = ["Object Created", "Object Deleted"]
        places = {"bucket": {"name": [brought.bucket_name]}, "object": {"key": [{"prefix": CATALOGUE}, {"prefix": CHECK}]}}
        self._rule("Brought", "aws.s3", both, places)
        brought.enable_event_bridge_notification()
        if archives:
            self._rule("ArchiveFiles", "aws.s3", ["Object Created"], {"bucket": {"name": [bucket.bucket_name for bucket in archives]}})
        for bucket in archives:
            bucket.enable_event_bridge_notification()

    def _rule(self, name: str, source: str, detail_type: list[str], detail: dict[str, object] | None = None) -> None:
        """What EventBridge cannot hand to the queue within a day goes to the dead letters, too, instead of nowhere."""
        target = targets.SqsQueue(self._queues.events, dead_letter_queue=self._queues.dead_letters, max_event_age=cdk.Duration.hours(24), retry_attempts=185)
        events.Rule(self, name, event_pattern=events.EventPattern(source=[source], detail_type=detail_type, detail=detail), targets=[target])
