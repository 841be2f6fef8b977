"""S3's POST policy, as S3 holds a form to it; moto takes any. Pure.

Sources: S3 API reference, "POST Policy" and "Authenticating Requests: Browser-Based Uploads Using POST".
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

#: What a policy need not mention.
_FREE: Final = frozenset({"awsaccesskeyid", "signature", "policy", "file", "x-amz-signature"})


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """As S3 answers it."""

    status: int
    code: str
    message: str

    def xml(self) -> str:
        escaped = self.message.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{self.code}</Code><Message>{escaped}</Message></Error>'


def refusal(form: Mapping[str, str], data: bytes, *, bucket: str, now: datetime) -> Refusal | None:
    """Why S3 does not take it; None: it does. Of the stand-in each key's secret is the key itself."""
    fields = {name.lower(): value for name, value in form.items()}
    if "policy" not in fields:
        return _denied("Access Denied")
    if not _is_signed(fields):
        return Refusal(status=403, code="SignatureDoesNotMatch", message="The request signature we calculated does not match the signature you provided.")
    try:
        policy = json.loads(base64.b64decode(fields["policy"], validate=True))
        expires, conditions = datetime.fromisoformat(policy["expiration"]), policy["conditions"]
    except (ValueError, KeyError, TypeError, binascii.Error):
        return Refusal(status=400, code="InvalidPolicyDocument", message="Invalid Policy: Invalid JSON.")
    if now >= expires:
        return _denied("Invalid according to Policy: Policy expired.")
    return _unmet({**fields, "bucket": bucket}, conditions, len(data)) or _altered(fields, data)


def _denied(message: str) -> Refusal:
    return Refusal(status=403, code="AccessDenied", message=message)


def _is_signed(fields: Mapping[str, str]) -> bool:
    """By version 4: the policy is what is signed."""
    parts = fields.get("x-amz-credential", "").split("/")
    if fields.get("x-amz-algorithm") != "AWS4-HMAC-SHA256" or len(parts) != 5:
        return False
    key = f"AWS4{parts[0]}".encode()
    for part in (*parts[1:4], "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(hmac.digest(key, fields["policy"].encode(), "sha256").hex(), fields.get("x-amz-signature", ""))


def _unmet(fields: Mapping[str, str], conditions: list[Any], size_bytes: int) -> Refusal | None:
    mentioned = set(_FREE) | {"bucket"}
    for condition in conditions:
        parts = [["eq", f"${name}", value] for name, value in condition.items()] if isinstance(condition, dict) else [condition]
        for kind, first, second in parts:
            if kind == "content-length-range":
                if size_bytes < first:
                    return Refusal(status=400, code="EntityTooSmall", message="Your proposed upload is smaller than the minimum allowed size")
                if size_bytes > second:
                    return Refusal(status=400, code="EntityTooLarge", message="Your proposed upload exceeds the maximum allowed size")
                continue
            name = first.removeprefix("$").lower()
            mentioned.add(name)
            said = fields.get(name, "")
            if not (said == second if kind == "eq" else said.startswith(second)):
                return _denied(f'Invalid according to Policy: Policy Condition failed: ["{kind}", "{first}", "{second}"]')
    extra = sorted(name for name in fields if name not in mentioned and not name.startswith("x-ignore-"))
    return _denied(f"Invalid according to Policy: Extra input fields: {extra[0]}") if extra else None


def _altered(fields: Mapping[str, str], data: bytes) -> Refusal | None:
    said = fields.get("x-amz-checksum-sha256")
    if said is not None and base64.b64encode(hashlib.sha256(data).digest()).decode() != said:
        return Refusal(status=400, code="BadDigest", message="The SHA256 you specified did not match the calculated checksum.")
    return None
