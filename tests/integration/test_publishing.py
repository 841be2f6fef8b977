"""Who waits for whom: a receiver of hits that hangs holds up nothing that goes to AWS."""

import threading
import time

import hits_samples as samples
from earmark.aws import Clients
from earmark.hits.outgoing import Outgoing
from earmark.hits.queueing import enqueue
from earmark.hits.text import dumps
from earmark.postgres import transaction
from earmark.publishing import Publishing
from earmark.settings import Settings
from earmark.telemetry import Metrics
from webhook_receiver import Receiver, Says


def hit_to_webhook(n):
    hit = samples.hit()
    body = dumps({**hit, "revision": n})
    return Outgoing(
        target="webhook", stream_id=hit["stream"]["id"], key=f"HIT{n}", revision=n, content_type="application/json", body=body, attributes={"occasion": "open"}
    )


def test_hits_to_s3_leave_while_every_request_to_the_webhook_hangs(pool, aws, monkeypatch):
    aws.client("s3").create_bucket(Bucket="results")
    with Receiver().running() as receiver:
        receiver.says = [Says(hangs=True)]
        settings = Settings.model_validate(
            {
                "aws": {"endpoint_url": aws.endpoint_url, "region": "us-east-1"},
                "results": {"bucket": "results"},
                "outbox": {"threads": 2, "poll_s": 0.05},
                "webhook": receiver.settings(deadline_s=15, threads=3).model_dump(),
            }
        )
        stop = threading.Event()
        publishing = Publishing(
            settings=settings, pool=pool, clients=Clients(settings.aws), live_stream_id=lambda _arn: None, stop=stop, metrics=Metrics.build()
        )
        with transaction(pool) as connection:
            samples.insert_stream(connection)
            for n in range(20):
                enqueue(connection, hit_to_webhook(n))
        loops = [threading.Thread(target=run, name=name) for name, run, _ in publishing.loops()]
        for loop in loops:
            loop.start()
        try:
            receiver.wait_for(3, patience_s=10)
            document = Outgoing(target="s3", stream_id=samples.STREAM.stream_id, key="st/stream.json", revision=1, content_type="application/json", body="{}")
            with transaction(pool) as connection:
                enqueue(connection, document)
            publishing.nudge()
            began = time.monotonic()
            while aws.client("s3").list_objects_v2(Bucket="results")["KeyCount"] == 0:
                assert time.monotonic() - began < 10
                time.sleep(0.02)
            assert len(receiver.posted) == 3, "the others wait for one of the webhook's own threads"
            assert publishing.age_s < 10
        finally:
            stop.set()
            receiver.closing.set()
            publishing.nudge()
            for loop in loops:
                loop.join()


def test_without_a_webhook_there_is_one_publisher(pool):
    settings = Settings()
    made = Publishing(
        settings=settings, pool=pool, clients=Clients(settings.aws), live_stream_id=lambda _arn: None, stop=threading.Event(), metrics=Metrics.build()
    )
    assert [name for name, *_ in made.loops()] == ["publisher"]
