"""An object far away, read by ranges: the same bytes as if it were here, never many of them at once, and never of two objects."""

import io

import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from earmark.audio import boxes
from earmark.audio.remote import BLOCKS_KEPT, RemoteFile
from earmark.errors import AwsRefused, AwsUnavailable, UnreadableAudio
from stored_objects import MemoryS3, refusal

BLOCK = 16


def remote(s3: MemoryS3, **of) -> RemoteFile:
    return RemoteFile(**{"s3": s3, "bucket": "b", "key": "k", "block_bytes": BLOCK, **of})


@given(st.binary(max_size=150), st.lists(st.tuples(st.integers(0, 170), st.integers(0, 60)), max_size=8), st.binary(min_size=1, max_size=4))
def test_it_is_the_same_as_a_file_that_is_here(data, reads, what):
    here = io.BytesIO(data)
    with remote(MemoryS3({"k": data})) as far:
        for at, size in reads:
            assert far.seek(at) == here.seek(at)
            assert far.read(size) == here.read(size)
            assert far.tell() == (at + len(data[at : at + size]))
            assert far[at : at + size] == data[at : at + size]
            assert far.find(what, at) == data.find(what, at)
            assert far.find(what, at, at + size) == data.find(what, at, at + size)
        assert (len(far), far.seek(-1, io.SEEK_END) if data else 0) == (len(data), len(data) - 1 if data else 0)
        far.seek(0)
        assert far.read() == data


def test_it_is_what_boxes_are_read_of():
    def takes(_: boxes.Readable) -> None: ...

    takes(remote(MemoryS3({"k": b"x"})))
    with remote(MemoryS3({"k": bytes(4) + b"free" + bytes(60)})) as far:
        boxes.check_file(far)


def test_before_the_beginning_there_is_nothing():
    with remote(MemoryS3({"k": b"abc"})) as far, pytest.raises(ValueError, match="nothing before the beginning of s3://b/k"):
        far.seek(-4, io.SEEK_END)


def test_no_more_than_some_blocks_are_kept_and_one_is_fetched_ahead():
    s3 = MemoryS3({"k": bytes(range(256)) * 4})
    with remote(s3) as far:
        while far.read(5):
            assert len(far._kept) <= BLOCKS_KEPT
        assert sorted(s3.asked) == [(at, at + BLOCK) for at in range(0, 1024, BLOCK)], "each range once"
        assert far.fetched_bytes == 1024
        far.seek(0)
        far.read(1)
        assert len(s3.asked) == 65, "and once more what was let go"


def test_jumping_about_fetches_nothing_ahead():
    s3 = MemoryS3({"k": bytes(1024)})
    with remote(s3) as far:
        for at in (500, 20, 900, 300):
            far.seek(at)
            far.read(4)
    assert len(s3.asked) == 4


def test_what_is_gone_or_another_is_said_in_a_sentence():
    with pytest.raises(UnreadableAudio, match=r"^s3://b/k was deleted before it was read$"):
        remote(MemoryS3())
    s3 = MemoryS3({"k": bytes(100)})
    with pytest.raises(UnreadableAudio, match=r"^s3://b/k was replaced before it was read: what is there now is a file of its own$"):
        remote(s3, etag="another")
    with remote(s3, etag=s3.etag("k")) as far:
        far.read(4)
        s3.objects["k"] = bytes(101)
        far.seek(90)
        with pytest.raises(UnreadableAudio, match="was replaced while it was read"):
            far.read(4)
        assert isinstance(far.failure, UnreadableAudio)
    with remote(MemoryS3({"k": bytes(100)})) as far:
        far._s3.objects.clear()
        with pytest.raises(UnreadableAudio, match="was deleted while it was read"):
            far.read(4)


def test_what_breaks_off_is_asked_for_again_and_not_for_ever():
    s3, failures = MemoryS3({"k": b"0123456789"}), []

    def fail(_: int) -> None:
        if len(failures) < 2:
            failures.append(1)
            raise ReadTimeoutError(endpoint_url="http://s3")

    s3.before = fail
    with remote(s3) as far:
        assert far.read(3) == b"012"

    def always(_: int) -> None:
        failures.append(1)
        raise refusal("SlowDown", 503, "GetObject")

    s3.before = always
    failures.clear()
    with remote(s3) as far, pytest.raises(AwsUnavailable, match="s3:GetObject of s3://b/k failed for now"):
        far.read(3)
    assert len(failures) == 3


def test_a_body_that_is_short_is_not_taken_for_the_end():
    class Short(MemoryS3):
        def get_object(self, **asked):
            answer = super().get_object(**asked)
            return {"Body": io.BytesIO(answer["Body"].read()[:-1])}

    with remote(Short({"k": bytes(10)})) as far, pytest.raises(AwsUnavailable, match="broke off after 9 of 10 bytes"):
        far.read(1)


def test_what_may_not_be_read_is_refused_with_what_to_do():
    s3 = MemoryS3({"k": bytes(10)})

    def denied(_: int) -> None:
        raise refusal("AccessDenied", 403, "GetObject")

    s3.before = denied
    with remote(s3) as far, pytest.raises(AwsRefused, match="allow s3:GetObject in the role's policy"):
        far.read(1)
