"""Hits by HTTP POST, signed as Standard Webhooks 1.0 has it (standardwebhooks.com), so that its libraries verify them.

    webhook-id         the hit and its revision: the same however often it is tried; a receiver that knows it has had it
    webhook-timestamp  Unix time of this try: receivers refuse what is more than five minutes old, and so a replay
    webhook-signature  v1,HMAC-SHA256 of `id.timestamp.body` in base64; two of them while one secret takes the other's place

The body is the hit. What it is about stands in front of it as well (CloudEvents 1.0, HTTP protocol
binding, binary mode), for routers that read no bodies; what stands there is not signed.

A receiver is somebody else's server: it may hang, dribble, send megabytes or point elsewhere. So each request has one deadline,
of an answer its head is read and of a refusal a few kilobytes, redirects are not followed, and each connection is a new
one, to an address that was checked a moment ago. One that fails is left alone for a while, longer each time: then one
request tries it, and the others wait.
"""

import hmac
import json
import re
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from importlib.metadata import version
from typing import Any, Final, Protocol

from urllib3.util import parse_url

from earmark.aws import asking
from earmark.errors import AwsUnavailable, BadSettings, Transient, WebhookRefused, WebhookUnavailable
from earmark.hits.record import Outgoing, safe_name
from earmark.hits.shortened import shortened
from earmark.hits.sinks import Sent
from earmark.hits.text import dumps, one_line, shown
from earmark.settings.webhook import Webhook, signing_keys
from earmark.web import exchange
from earmark.web.addresses import Resolve, Wording, host_of, is_metadata, is_named, is_public, literal, port_of, reachable, resolve
from earmark.web.connections import Connections, NotConnected, Origin, unreached
from earmark.web.exchange import Connection, Head, TooLong

#: A secret of Secrets Manager is read again after this, since secrets are rotated.
SECRET_S: Final = 900.0
#: How long a receiver is left alone after its first failure, doubled by each that follows; the longest; and after 410 (Gone).
PAUSE_S, PAUSE_S_MAX, GONE_S = 1.0, 60.0, 3_600.0
#: What is read of an answer that says why not, and what is shown of it.
REASON_BYTES_MAX, REASON_CHARACTERS_MAX = 4_096, 200
#: Usual limits of servers begin at 100 kB; a hit has two, unless somebody's catalogue credits hundreds of artists.
BODY_CHARACTERS_MAX = 65_536
#: Statuses that pass, beside 5xx: Request Timeout, Too Early, Too Many Requests.
_PASSING: Final = {408, 425, 429}
_RETRY_AFTER: Final = re.compile(rb"(?i)\nretry-after[ \t]*:([^\r\n]*)")
_WORDING: Final = Wording(
    leads="webhook.url leads to", forgone="posted to", opens="webhook.allow_private", refused=WebhookRefused, unavailable=WebhookUnavailable
)


class SecretsManager(Protocol):
    """boto3's `secretsmanager` client, as far as it is used."""

    def get_secret_value(self, *, SecretId: str) -> Mapping[str, Any]: ...  # noqa: N803 -- boto3's name


class WebhookSink:
    """Implements `hits.sinks.Sink`: safe to call from several threads, and to repeat."""

    def __init__(
        self,
        *,
        settings: Webhook,
        secrets: Callable[[], SecretsManager],
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = resolve,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`now`: Unix time. `settings` have been checked: `url` is an address, `secret` a secret or the ARN of one."""
        parsed = parse_url(settings.url)
        self._origin = Origin(parsed.scheme or "https", (parsed.host or "").strip("[]").rstrip("."), port_of(parsed))
        self._path = parsed.request_uri
        self._settings, self._clock, self._now = settings, clock, now
        self._resolve = resolve
        self._private = frozenset(pair.lower() for pair in settings.allow_private)
        self._secret = Secret(settings.secret.get_secret_value().strip(), secrets=secrets, clock=clock)
        self._pause = Pause(self._origin.host, clock=clock)
        self._agent = f"earmark/{version('earmark')}"
        self._connections = Connections(
            guard=self,
            tls=tls or ssl.create_default_context(),
            per_host_max=0,  # kept ones would be to addresses that were checked long ago
            connect_timeout_s=settings.connect_timeout_s,
            read_timeout_s=settings.deadline_s,
            clock=clock,
        )

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """Implements `web.connections.Judge`. Raises WebhookRefused, WebhookUnavailable."""
        return reachable(host, port, private=is_named(host, port, self._private), resolve=self._resolve, wording=_WORDING)

    def send(self, item: Outgoing) -> Sent:
        """Raises WebhookUnavailable when it may pass, WebhookRefused when it will not by itself; and what reading the secret raises."""
        keys = self._secret.keys()
        with self._pause.respected():
            self._post(item, keys)
        return "stored"

    def _post(self, item: Outgoing, keys: Sequence[bytes]) -> None:
        ends = self._clock() + self._settings.deadline_s
        body = fitting(item.body).encode()
        headers = {"Host": self._origin.authority, **signed(item, body, keys, at=int(self._now())), **about(item), "User-Agent": self._agent}
        try:
            connection = self._connected()
            try:
                head = connection.ask(exchange.posted(self._path, {**headers, "Connection": "close"}, body), ends=ends, reads=_head)
                reason = "" if 200 <= head.status < 400 else _reason(connection, head)
            finally:
                connection.close()
        except (NotConnected, HTTPException, OSError) as error:
            raise WebhookUnavailable(f"the webhook {self._origin.host} {self._trouble(error)}") from error
        self._judge(head, reason)

    def _connected(self) -> Connection:
        try:
            return self._connections.made(self._origin)
        except TimeoutError as error:  # of the handshake
            raise NotConnected("the TLS handshake did not end", timed_out=True) from error

    def _judge(self, head: Head, reason: str) -> None:
        """What an answer means, after "Delivery success and failure" of Standard Webhooks."""
        status, host = head.status, self._origin.host
        said = f"the webhook {host} answered {status}{f': {reason}' if reason else ''}"
        if status in _PASSING or status >= 500:
            asked_s = _seconds(head.headers.get("retry-after", ""), self._now())
            raise WebhookUnavailable(said, retry_after_s=min(asked_s, self._settings.retry_after_s_max))
        if 300 <= status < 400:
            raise WebhookRefused(f"{said} and points to {_where(head, host)}: redirects are not followed; put the address that is meant into webhook.url")
        if status == 410:
            raise Gone(f"{said}: it wants no more hits; correct webhook.url, or set webhook.mode to off")
        if status >= 400:
            remedy = "; does it know webhook.secret?" if status in (401, 403) else ""
            raise WebhookRefused(f"{said}{remedy}")

    def _trouble(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"did not answer within {self._settings.deadline_s:g} s"
        return unreached(error, connect_timeout_s=self._settings.connect_timeout_s) or "broke off before it had answered"


class Gone(WebhookRefused):
    """410: the receiver wants no more."""


# ------------------------------------------------------------------------------------------------ what stands in front of a hit


def event_id(item: Outgoing) -> str:
    """What a receiver knows a repeat by: one for each hit and revision. Without a full stop, which would let one signature be read as another's."""
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', item.key)}-{item.revision}"


def fitting(body: str) -> str:
    """The hit, shortened if a receiver may refuse it for its length alone: always the same of the same."""
    return body if len(body) <= BODY_CHARACTERS_MAX else dumps(shortened(json.loads(body)))


def signed(item: Outgoing, body: bytes, keys: Sequence[bytes], *, at: int) -> dict[str, str]:
    """The three fields of Standard Webhooks. `at`: Unix time, in seconds."""
    content = f"{event_id(item)}.{at}.".encode() + body
    signatures = (f"v1,{b64encode(hmac.digest(key, content, 'sha256')).decode()}" for key in keys)
    return {"webhook-id": event_id(item), "webhook-timestamp": str(at), "webhook-signature": " ".join(signatures)}


def about(item: Outgoing) -> dict[str, str]:
    """The attributes of CloudEvents that are asked for, and the body's type."""
    state = str(json.loads(item.body).get("state", ""))
    return {
        "ce-specversion": "1.0",
        "ce-id": event_id(item),
        "ce-source": f"/earmark/streams/{safe_name(item.stream_id)}",  # as its folder in S3
        "ce-type": f"earmark.play.{state}" if state else "earmark.play",
        "Content-Type": item.content_type,
    }


# ------------------------------------------------------------------------------------------------ what an answer says


def _head(text: bytes) -> Head:
    """As `exchange.parsed`, with one field more. Raises HTTPException."""
    head, said = exchange.parsed(text), _RETRY_AFTER.search(text)
    return replace(head, headers={**head.headers, "retry-after": said[1].decode("latin-1").strip()}) if said else head


def _reason(connection: Connection, head: Head) -> str:
    """A few words of the body, if it is short: for people."""
    try:
        text = connection.body(head, REASON_BYTES_MAX).decode(errors="replace")
    except (TooLong, OSError, HTTPException):
        return ""
    return shown(one_line(text, REASON_CHARACTERS_MAX))


def _seconds(said: str, now: float) -> float:
    """Of Retry-After (RFC 9110, section 10.2.3): a number of seconds, or a date; 0 for what is neither."""
    if said.isascii() and said.isdecimal():
        return float(said[:9])
    try:
        at = parsedate_to_datetime(said)
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, at.replace(tzinfo=at.tzinfo or UTC).timestamp() - now)


def _where(head: Head, host: str) -> str:
    """Where a redirect leads, as far as it may be shown: the path may hold a token."""
    location = head.headers.get("location", "")
    there = shown(one_line(host_of(location), 100)) or (host if location else "nowhere")
    address = literal(there)
    if address is None:
        return f"{there}, which is this machine" if there.lower() == "localhost" else there
    return f"{there}, which is {'a metadata service' if is_metadata(address) else 'a public address' if is_public(address) else 'not a public address'}"


# ------------------------------------------------------------------------------------------------ the secret, and the pause


class Secret:
    """What hits are signed with, as the settings or Secrets Manager have it. Thread-safe."""

    def __init__(self, said: str, *, secrets: Callable[[], SecretsManager], clock: Callable[[], float]) -> None:
        self._arn = said if said.startswith("arn:") else ""
        self._keys = () if self._arn else _keys(said, "webhook.secret")
        self._secrets, self._clock = secrets, clock
        self._lock = threading.Lock()
        self._read_at = 0.0

    def keys(self) -> Sequence[bytes]:
        """The newer one first. Raises AwsUnavailable, AwsRefused or BadSettings where they cannot be had."""
        with self._lock:
            if self._arn and (not self._keys or self._clock() - self._read_at >= SECRET_S):
                try:
                    self._keys = self._read()
                except AwsUnavailable:
                    if not self._keys:
                        raise
                self._read_at = self._clock()  # what was read before is good for another while
            return self._keys

    def _read(self) -> tuple[bytes, ...]:
        with asking("secretsmanager:GetSecretValue", self._arn, absent="put webhook.secret into one"):
            answer = self._secrets().get_secret_value(SecretId=self._arn)
        return _keys(str(answer.get("SecretString") or ""), f"the secret {self._arn}")


def _keys(text: str, what: str) -> tuple[bytes, ...]:
    try:
        return signing_keys(text, what)
    except ValueError as error:
        raise BadSettings(str(error)) from None


class Pause:
    """A receiver that failed is left alone for a while; then one request tries it, and the others wait for what comes of it. Thread-safe."""

    def __init__(self, host: str, *, clock: Callable[[], float]) -> None:
        self._host, self._clock = host, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0
        self._trying = False
        self._why = ""

    @contextmanager
    def respected(self) -> Iterator[None]:
        """Around a request. Raises WebhookUnavailable while there is to be none."""
        self._begin()
        failure: WebhookUnavailable | WebhookRefused | None = None
        try:
            yield
        except (WebhookUnavailable, WebhookRefused) as error:
            failure = error
            raise
        finally:
            self._over(failure)

    def _begin(self) -> None:
        with self._lock:
            left_s = self._until - self._clock()
            if self._failures and (left_s > 0 or self._trying):
                raise WebhookUnavailable(f"the webhook {self._host} is left alone for a while: {self._why}", retry_after_s=max(left_s, PAUSE_S))
            self._trying = bool(self._failures)

    def _over(self, failure: WebhookUnavailable | WebhookRefused | None) -> None:
        with self._lock:
            self._trying = False
            self._failures = self._failures + 1 if failure else 0
            if failure:
                doubled_s = min(PAUSE_S_MAX, PAUSE_S * 2.0 ** min(self._failures - 1, 30))
                asked_s = GONE_S if isinstance(failure, Gone) else failure.retry_after_s if isinstance(failure, Transient) else 0.0
                self._until, self._why = self._clock() + max(doubled_s, asked_s), str(failure)
