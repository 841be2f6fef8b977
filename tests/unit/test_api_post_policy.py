"""The stand-in's S3 holds a form to its policy as S3 does; the forms are signed by botocore, not by us."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.config import Config

from earmark.local.post_policy import refusal

DATA = b"twelve bytes"


@cache
def signer() -> Any:
    keys = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "AKIDEXAMPLE"}
    return boto3.client("s3", region_name="eu-west-1", config=Config(signature_version="s3v4"), **keys)


def signed(**changes: Any) -> dict[str, str]:
    fields = {"Content-Type": "audio/flac"}
    conditions: list[Any] = [{"Content-Type": "audio/flac"}, ["content-length-range", 12, 12]]
    form = signer().generate_presigned_post("music", "catalogue/song.flac", Fields=dict(fields), Conditions=conditions, ExpiresIn=900)["fields"]
    return {**form, **changes}


def why(form: dict[str, str], data: bytes = DATA, *, bucket: str = "music", after_s: float = 0) -> tuple[int, str]:
    found = refusal(form, data, bucket=bucket, now=datetime.now(UTC) + timedelta(seconds=after_s))
    return (found.status, found.message) if found else (200, "")


def test_what_is_as_it_was_signed_is_taken_and_taken_again():
    assert why(signed()) == (200, "")
    assert why(signed(), after_s=880) == (200, "")


def test_after_its_time_nothing_is_taken():
    assert why(signed(), after_s=910) == (403, "Invalid according to Policy: Policy expired.")


@pytest.mark.parametrize("data,message", [(DATA + b"!", "exceeds the maximum allowed size"), (DATA[:-1], "smaller than the minimum allowed size")])
def test_neither_more_nor_less_is_taken_than_was_announced(data: bytes, message: str):
    status, said = why(signed(), data)
    assert status == 400 and message in said


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"Content-Type": "text/html"}, 'Policy Condition failed: ["eq", "$Content-Type", "audio/flac"]'),
        ({"key": "catalogue/other.flac"}, "Policy Condition failed"),
        ({"acl": "public-read"}, "Extra input fields: acl"),
        ({"x-amz-meta-note": "mine"}, "Extra input fields: x-amz-meta-note"),
        ({"x-amz-signature": "0" * 64}, "signature"),
        ({"x-amz-credential": "AKIDEXAMPLE/20990101/eu-west-1/s3/aws4_request"}, "signature"),
        ({"policy": "e30="}, "signature"),
    ],
)
def test_a_field_that_was_changed_or_added_is_refused(changes: dict[str, str], message: str):
    status, said = why(signed(**changes))
    assert status == 403 and message in said


def test_another_bucket_is_refused_and_so_is_who_has_no_policy():
    assert why(signed(), bucket="other")[0] == 403
    assert why({"key": "catalogue/song.flac"})[0] == 403
