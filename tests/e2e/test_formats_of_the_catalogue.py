"""The whole way of a preview: an object put into the bucket, its event, a daemon with the role catalogue, a file beside it that plays."""

import io
import json

import av

from media_bucket import Media
from service_daemon import log_lines, rows, run_sql, until
from stocked_bucket import recording


def copies(media: Media) -> list[str]:
    return media.listed("catalogue/_formats/")


def test_an_object_gets_its_preview_and_loses_it_with_itself(dsn: str, media: Media) -> None:
    with media.worker() as worker:
        media.put("one.flac", recording(1, title="Blue Sky"))
        until(lambda: len(copies(media)) == 1, "its preview", worker)
        (key,) = copies(media)
        until(lambda: rows(dsn, "select 1 from track_format where state = 'made'"), "it is on record", worker)
        (told,) = json.loads(media.earmark("catalogue", "show", "key:one.flac").stdout)["formats"]
        assert (told["name"], told["state"], told["url"]) == ("preview", "made", f"s3://{media.bucket}/{key}")
        with av.open(io.BytesIO(media.get(key))) as container:
            assert container.metadata["title"] == "Blue Sky" and container.duration
            assert abs(container.duration / av.time_base - 4.0) < 0.1 and abs(told["duration_s"] - 4.0) < 0.1
        metrics = worker.metrics()
        assert 'earmark_formats_total{outcome="made"} 1.0' in metrics and f"earmark_formats_bytes_total {told['size_bytes']:.1f}" in metrics
        media.delete("one.flac")
        until(lambda: not copies(media), "it is gone", worker)
        assert [row["track_id"] for row in rows(dsn, "select track_id from track")] == []
    events = [line["event"] for line in log_lines(media.log)]
    assert events.count("formats.made") == events.count("formats.removed") == 1


def test_a_daemon_that_is_killed_while_it_makes_copies_makes_the_rest_when_it_is_back(dsn: str, media: Media) -> None:
    names = [f"{number}.flac" for number in range(3)]
    with media.worker() as worker:
        for number, name in enumerate(names):
            media.put(name, recording(30 + number, 20.0))
        until(lambda: rows(dsn, "select 1 from fan_out where worker is not null"), "one is under way", worker)
        worker.kill()
    for table in ("fan_out", "catalogue_object"):  # whose leases are a minute and more
        run_sql(dsn, f"update {table} set taken_until = now() where worker is not null")
    with media.worker() as worker:
        until(lambda: len(rows(dsn, "select 1 from track_format where state = 'made'")) == 3, "all are made", worker)
    assert sorted(key.split("/")[2] for key in copies(media)) == names
