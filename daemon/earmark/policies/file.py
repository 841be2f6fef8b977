"""The policy file that the settings name: on disk, or an object of S3."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from earmark.aws import asking
from earmark.errors import BadSettings
from earmark.hits.reconsidering import Moments
from earmark.hits.rights import Decide, by_owner
from earmark.metadata import shown
from earmark.policies.deciding import Deciding
from earmark.policies.document import BYTES_MAX, Policies, parse

#: boto3's client, when it is needed.
S3 = Callable[[], Any]
_SCHEME = "s3://"


def deciding(file: str, *, s3: S3) -> Decide:
    """How plays are decided about: by that file; without one, by owners' wishes alone. Raises as `load`."""
    return Deciding(load(file, s3=s3)) if file else by_owner


def moments(decide: Decide) -> Moments:
    """The lengths at which a play that goes on is to be decided about anew."""
    asked = [rule.when for rule in decide.policies.rule] if isinstance(decide, Deciding) else []
    names = ("played_s", "matched_s", "played_share")
    return Moments(**{name: tuple(sorted({span.min for when in asked if (span := getattr(when, name)) and span.min})) for name in names})


def load(file: str, *, s3: S3) -> Policies:
    """Raises BadSettings: the file, which rule, which value, why; AwsUnavailable and AwsRefused of an object."""
    return parse(_of_s3(file, s3) if file.startswith(_SCHEME) else _of_disk(file), name=file)


def _of_disk(file: str) -> bytes:
    try:
        with Path(file).open("rb") as opened:
            return opened.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:  # a name with NUL in it is no name
        raise BadSettings(f"the policy file {shown(file)} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _of_s3(file: str, s3: S3) -> bytes:
    bucket, _, key = file.removeprefix(_SCHEME).partition("/")
    if not bucket or not key:
        raise BadSettings(f"the policy file {shown(file)} names no object: write s3://bucket/key")
    with asking("s3:GetObject", file, absent="put the policy file there, or correct policy.file"):
        answer = s3().get_object(Bucket=bucket, Key=key)
        with answer["Body"] as body:
            data: bytes = body.read(BYTES_MAX + 1)
    return data
