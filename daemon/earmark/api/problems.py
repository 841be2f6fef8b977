"""What goes wrong, as `application/problem+json` (RFC 9457): a kind for machines, one sentence for people, and no more."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, Field

from earmark.errors import AwsUnavailable, CatalogueMismatch, DatabaseUnavailable, FingerprintMismatch, SourceUnsupported, StreamNotFound, UnreadableAudio
from earmark.hits.text import dumps, one_line, writable
from earmark.telemetry.api_metrics import Refusal

MEDIA_TYPE: Final = "application/problem+json"
#: A URN: nothing is to be looked up there, and no host has to go on existing.
_TYPE: Final = "urn:earmark:problem:"

_STATUS: Final[Mapping[Refusal, HTTPStatus]] = {
    "malformed": HTTPStatus.BAD_REQUEST,
    "token-missing": HTTPStatus.UNAUTHORIZED,
    "token-unknown": HTTPStatus.UNAUTHORIZED,
    "token-revoked": HTTPStatus.UNAUTHORIZED,
    "token-expired": HTTPStatus.UNAUTHORIZED,
    "scope-missing": HTTPStatus.FORBIDDEN,
    "not-found": HTTPStatus.NOT_FOUND,
    "method-not-allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "too-slow": HTTPStatus.REQUEST_TIMEOUT,
    "too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unsupported-media-type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "invalid": HTTPStatus.UNPROCESSABLE_ENTITY,
    "unreadable-audio": HTTPStatus.UNPROCESSABLE_ENTITY,
    "fingerprint-mismatch": HTTPStatus.UNPROCESSABLE_ENTITY,
    "rate-limited": HTTPStatus.TOO_MANY_REQUESTS,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "uploads-off": HTTPStatus.NOT_IMPLEMENTED,
    "busy": HTTPStatus.SERVICE_UNAVAILABLE,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
}
#: RFC 9110's names, which Python 3.11 does not have all of.
_TITLES: Final = {413: "Content Too Large", 422: "Unprocessable Content"}
#: After what passes by itself.
RETRY_S: Final = 5


class Flaw(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(description="the field's path, its parts joined by dots", examples=["metadata.isrc.0"])
    detail: str = Field(description="one sentence: what is wrong, and what is allowed")


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str = Field(description=f"which kind: {_TYPE} and one of {', '.join(get_args(Refusal))}", examples=[f"{_TYPE}token-expired"])
    title: str = Field(description="the HTTP status in words")
    status: int = Field(description="the HTTP status", ge=400, le=599)
    detail: str = Field(description="one sentence: which thing, why, what to do")
    fields: list[Flaw] | None = Field(None, description="only of kind invalid: what is wrong, field by field")


@dataclass(eq=False)
class Problem(Exception):
    """An answer that is no success."""

    kind: Refusal
    detail: str
    headers: Mapping[str, str] | None = None
    fields: Sequence[Mapping[str, str]] = ()

    def __str__(self) -> str:
        return self.detail

    @property
    def status(self) -> int:
        return _STATUS[self.kind].value

    def body(self) -> bytes:
        title = _TITLES.get(self.status, _STATUS[self.kind].phrase)
        document: dict[str, Any] = {"type": _TYPE + self.kind, "title": title, "status": self.status, "detail": writable(self.detail)}
        if self.fields:
            document["fields"] = [{name: writable(text) for name, text in flaw.items()} for flaw in self.fields]
        return dumps(document).encode()


def busy(detail: str, *, retry_s: float = RETRY_S) -> Problem:
    return Problem("busy", detail, headers=later(retry_s))


def later(seconds: float) -> dict[str, str]:
    """RFC 9110, section 10.2.3: whole seconds; never none."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def of_error(error: Exception) -> Problem | None:
    """What an error of Earmark's own means to who asked; None: it is a bug, or none of theirs to read."""
    match error:
        case Problem():
            return error
        case DatabaseUnavailable():  # names the server: that is for the log
            return Problem("unavailable", "the database does not answer now: try again later", headers=later(RETRY_S))
        case CatalogueMismatch():
            return Problem("unavailable", "the catalogue is being exchanged: try again later", headers=later(RETRY_S))
        case AwsUnavailable():
            return Problem("unavailable", "the bucket does not answer now: try again later", headers=later(RETRY_S))
        case StreamNotFound():
            return Problem("not-found", one_line(str(error)))
        case FingerprintMismatch():
            return Problem("fingerprint-mismatch", one_line(str(error), 500))
        case UnreadableAudio() | SourceUnsupported():
            return Problem("unreadable-audio", one_line(str(error), 500))
        case _:
            return None


#: One sentence of a field that is wrong; what was said is not repeated: it may be long, or a secret in the wrong place.
FLAWS_MAX: Final = 20
Where: TypeAlias = Literal["body", "query", "path"]


def invalid(errors: Sequence[Any]) -> Problem:
    """Of pydantic's errors: one sentence for each, and all of them in the detail."""
    fields: list[dict[str, str]] = []
    for error in errors[:FLAWS_MAX]:
        parts = [one_line(str(part), 60) for part in error["loc"]]
        name = ".".join(parts[1:] if parts and parts[0] in get_args(Where) else parts)
        fields.append({"field": name, "detail": f"{name or 'the body'} {_wrong(error)}"})
    more = f"; and {len(errors) - FLAWS_MAX} more" if len(errors) > FLAWS_MAX else ""
    return Problem("invalid", "; ".join(flaw["detail"] for flaw in fields) + more, fields=fields)


def _wrong(error: Mapping[str, Any]) -> str:
    """pydantic's words, as the rest of a sentence whose beginning is the field's name."""
    match error["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not known here"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            message = str(error["msg"])
            return "is wrong: " + message[:1].lower() + message[1:]
