"""What every sink of documents promises, tried on a bucket of the AWS stand-in and on a folder."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from earmark.errors import AwsRefused
from earmark.hits.record import Outgoing
from earmark.hits.sinks import FileSink, S3Sink


def document(revision=1, body="{}", key="eu/st-1/stream.json", content_type="application/json"):
    return Outgoing(target="s3", stream_id="st-1", key=key, revision=revision, content_type=content_type, body=body)


class Bucket:
    """A bucket of the stand-in: sinks on it, and what lies there."""

    def __init__(self, aws):
        self.client = aws.client("s3")
        self.client.create_bucket(Bucket="results")

    def sink(self):
        return S3Sink(client=self.client, bucket="results")

    def read(self, key):
        return self.client.get_object(Bucket="results", Key=key)["Body"].read().decode()

    def remove(self, key):
        self.client.delete_object(Bucket="results", Key=key)

    def put_foreign(self, key, body):
        self.client.put_object(Bucket="results", Key=key, Body=body.encode())

    def sink_that_is_refused(self):
        return S3Sink(client=self.client, bucket="no-such-bucket")


class Folder:
    """The same on disk. One sink stands for one process; the second is the same process started again."""

    def __init__(self, path):
        self.path = path

    def sink(self):
        return FileSink(folder=self.path)

    def read(self, key):
        return (self.path / key).read_bytes().decode()

    def remove(self, key):
        (self.path / key).unlink()

    def put_foreign(self, key, body):
        path = self.path / key
        path.parent.mkdir(parents=True)
        path.write_text(body)

    def sink_that_is_refused(self):
        file = self.path / "file"
        file.write_text("in the way")
        return FileSink(folder=file)


@pytest.fixture(params=["s3", "folder"])
def place(request, aws, tmp_path):
    return Bucket(aws) if request.param == "s3" else Folder(tmp_path)


def test_a_document_is_stored_as_it_is(place):
    body = 'Grüße 🎵\r\n"x"\n'

    assert place.sink().send(document(body=body)) == "stored"
    assert place.read("eu/st-1/stream.json") == body


def test_a_newer_revision_replaces_an_older_one(place):
    sink = place.sink()
    for revision in (1, 2, 7):
        assert sink.send(document(revision, f"revision {revision}")) == "stored"

    assert place.read("eu/st-1/stream.json") == "revision 7"


@pytest.mark.parametrize("revision", [7, 6, 1])
def test_a_repeat_or_an_older_revision_changes_nothing(place, revision):
    sink = place.sink()
    sink.send(document(7, "the newest"))

    assert sink.send(document(revision, "late")) == "superseded"
    assert place.read("eu/st-1/stream.json") == "the newest"


@pytest.mark.parametrize("revision", [7, 6, 1])
def test_a_sink_that_has_seen_nothing_knows_what_is_there(place, revision):
    place.sink().send(document(7, "the newest"))

    assert place.sink().send(document(revision, "late")) == "superseded"
    assert place.sink().send(document(8, "newer")) == "stored"
    assert place.read("eu/st-1/stream.json") == "newer"


def test_what_was_deleted_is_written_again(place):
    sink = place.sink()
    sink.send(document(1, "first"))
    place.remove("eu/st-1/stream.json")

    assert sink.send(document(2, "second")) == "stored"
    assert place.read("eu/st-1/stream.json") == "second"


def test_what_somebody_else_put_there_is_older_than_anything(place):
    place.put_foreign("eu/st-1/stream.json", "by hand")

    assert place.sink().send(document(1, "ours")) == "stored"
    assert place.read("eu/st-1/stream.json") == "ours"


def test_keys_do_not_meet(place):
    sink = place.sink()
    sink.send(document(5, "a", key="st-1/hits/a.json"))
    sink.send(document(1, "b", key="st-1/hits/b.json"))

    assert (place.read("st-1/hits/a.json"), place.read("st-1/hits/b.json")) == ("a", "b")


def test_of_many_writers_the_newest_revision_stays(place):
    sink = place.sink()
    revisions = [3, 8, 1, 6, 2, 7, 4, 5]
    together = threading.Barrier(len(revisions))

    def write(revision):
        together.wait()
        return sink.send(document(revision, f"revision {revision}"))

    with ThreadPoolExecutor(len(revisions)) as pool:
        outcomes = dict(zip(revisions, pool.map(write, revisions), strict=True))

    assert place.read("eu/st-1/stream.json") == "revision 8"
    assert outcomes[8] == "stored"


def test_what_cannot_be_written_is_refused_in_one_sentence(place):
    with pytest.raises(AwsRefused) as caught:
        place.sink_that_is_refused().send(document())

    text = str(caught.value)
    assert "\n" not in text
    assert "eu/st-1/stream.json" in text
