"""What every request passes before and after the application: limits, the token, the log, the metrics. An ASGI application.

    address's rate ─▶ room ─▶ size ─▶ token ─▶ its rate ─▶ application ─▶ security headers ─▶ log, metrics

Here and not in the application, because a framework reads a body before it asks who sends it, and because nothing that
an application forgets may leave without a limit: each wait for a client ends by itself, and what is refused before its
body was read closes the connection, so that nobody is left to send the rest.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias, get_args

import structlog
from anyio import to_thread

from earmark.api.limits import Buckets, neighbourhood
from earmark.api.problems import MEDIA_TYPE, Problem, busy, later, of_error
from earmark.api.tokens import Token
from earmark.errors import EarmarkError
from earmark.hits.text import one_line
from earmark.settings import Api
from earmark.telemetry.api_metrics import Refusal, Route

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

#: Who may ask without a token: load balancers, and who wants to know how to ask.
OPEN_PATHS: Final = frozenset({"/healthz", "/v1/openapi.json"})
#: What may send more than `body_bytes_max`.
IDENTIFY_PATH: Final = "/v1/identify"
#: In the scope's state, for the application: the `Token` of who asks; how an answer is refused with an error.
TOKEN: Final = "token"  # noqa: S105 - no secret, but where one is found
REFUSE: Final = "refuse"
#: For so long the rest of a body is taken that nobody wants.
_LINGER_S: Final = 2.0
#: An id may hold slashes.
_ROUTES: Final = [(re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(route)), re.DOTALL), route) for route in get_args(Route)]
#: What we say of ourselves to a browser, to which none of this is addressed. (OWASP REST Security Cheat Sheet, "Security Headers".)
_SECURITY: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_CLOSE: Final = (b"connection", b"close")
#: There are only so many connections, and who may not ask, or not now, is not to hold one.
_CLOSING: Final = frozenset({401, 408, 413, 429, 503})
_CHALLENGE: Final = 'Bearer realm="earmark"'


class Meter(Protocol):
    """What is counted: `telemetry`."""

    def request_answered(self, *, route: Route, status: int, seconds: float) -> None: ...
    def request_refused(self, problem: Refusal) -> None: ...
    def requests_running(self, count: int) -> None: ...


class Gone(Exception):
    """The client has left, or takes nothing: there is nobody to answer."""


@dataclass(eq=False)
class _Exchange:
    """One request and its answer, as they pass."""

    receive_next: Receive
    send_next: Send
    settings: Api
    bytes_max: int
    #: Whether the request has a body that was not read to its end; and whether its client waits to be asked for it.
    unread: bool
    on_demand: bool
    received_bytes: int = 0
    sent_bytes: int = 0
    status: int = 0
    #: What is answered instead of anything that the application says.
    refusal: Problem | None = None
    problem: Problem | None = None
    gone: bool = False

    async def receive(self) -> Message:
        try:
            async with asyncio.timeout(self.settings.body_wait_s):
                message = await self.receive_next()
        except TimeoutError:
            raise self._refused(Problem("too-slow", f"nothing came for {self.settings.body_wait_s:g} s: send the body without pauses")) from None
        if message["type"] == "http.disconnect":
            self.gone = True
            raise Gone
        self.received_bytes += len(message.get("body", b""))
        if self.received_bytes > self.bytes_max:
            raise self._refused(too_large(self.bytes_max))
        self.unread = bool(message.get("more_body"))
        return message

    def _refused(self, problem: Problem) -> Problem:
        self.refusal = problem
        return problem

    async def send(self, message: Message) -> None:
        if self.refusal is not None:  # the application's own idea of what went wrong is not as good
            return
        await self._send(message)

    async def answer(self, problem: Problem) -> None:
        self.problem, body = problem, problem.body()
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in (problem.headers or {}).items()]
        if problem.status in _CLOSING and not self.unread:
            headers.append(_CLOSE)
        await self._send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        if self.unread and not self.on_demand:
            await self._linger()
        await self._send({"type": "http.response.body", "body": b""})

    async def _linger(self) -> None:
        """Take what still comes, and forget it: a connection that is closed on data takes the answer with it. (RFC 9112, section 9.6.)"""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while (message := await self.receive_next())["type"] != "http.disconnect" and message.get("more_body"):
                    pass

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *_SECURITY, *([_CLOSE] if self.unread else ())]
        self.sent_bytes += len(message.get("body", b""))
        try:
            async with asyncio.timeout(self.settings.body_wait_s):
                await self.send_next(message)
        except TimeoutError:
            self.gone = True
            raise Gone from None


def too_large(bytes_max: int) -> Problem:
    return Problem("too-large", f"the body is larger than {bytes_max:,} bytes, which is the most that is taken here")


class Frontage:
    """`find_token` is called on a thread, may wait for the database, and may raise."""

    def __init__(
        self,
        application: Application,
        *,
        settings: Api,
        find_token: Callable[[str], Token | None],
        now: Callable[[], datetime],
        meter: Meter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._application = application
        self._settings = settings
        self._find_token = find_token
        self._now, self._clock = now, clock
        self._meter = meter
        self._addresses = Buckets(per_minute=settings.address_requests_per_minute, clock=clock)
        self._callers = Buckets(per_minute=settings.token_requests_per_minute, clock=clock)
        self._running = 0
        self._log = structlog.get_logger()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        settings, headers = self._settings, dict(scope["headers"])
        bytes_max = settings.identify_bytes_max if scope["path"] == IDENTIFY_PATH else settings.body_bytes_max
        has_body = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
        exchange = _Exchange(receive, send, settings, bytes_max, unread=has_body, on_demand=b"expect" in headers)
        scope.setdefault("state", {})[REFUSE] = lambda error: self._refuse(exchange, error)
        began = self._clock()
        self._running += 1
        self._meter.requests_running(self._running)
        try:
            await self._pass(scope, exchange, headers)
        finally:
            self._told(scope, exchange, self._clock() - began)
            self._running -= 1
            self._meter.requests_running(self._running)

    async def _pass(self, scope: MutableMapping[str, Any], exchange: _Exchange, headers: dict[bytes, bytes]) -> None:
        """Whatever happens, one answer, or none to who has left."""
        limit = asyncio.timeout(self._settings.request_s_max)
        try:
            try:
                async with limit:
                    await self._admit(scope, exchange, headers)
                    await self._application(scope, exchange.receive, exchange.send)
            except Exception as error:  # noqa: BLE001 - whatever it was: it is told in the log, and costs this request
                late = Problem("too-slow", f"the request took longer than {self._settings.request_s_max:g} s")
                self._refuse(exchange, late if limit.expired() else error)
            if exchange.refusal is not None and not exchange.status and not exchange.gone:
                await exchange.answer(exchange.refusal)
        except Gone:
            pass
        if exchange.gone:
            exchange.status = 0

    async def _admit(self, scope: MutableMapping[str, Any], exchange: _Exchange, headers: dict[bytes, bytes]) -> None:
        """Raises Problem for who may not ask, or not now."""
        path, client = scope["path"], scope.get("client")
        if path == "/healthz":
            return
        if wait_s := self._addresses.take(neighbourhood(client[0] if client else "")):
            raise _too_often("this address", wait_s, self._settings.address_requests_per_minute)
        if self._running > self._settings.requests_max:
            raise busy(f"{self._settings.requests_max} requests are under way, which is the most: try again in a moment", retry_s=1)
        if int(headers.get(b"content-length", b"0")) > exchange.bytes_max:
            raise too_large(exchange.bytes_max)
        if path not in OPEN_PATHS:
            token = await self._authenticated(headers.get(b"authorization", b"").decode("latin-1"))
            scope["state"][TOKEN] = token
            if wait_s := self._callers.take(token.token_id):
                raise _too_often("this token", wait_s, self._settings.token_requests_per_minute)

    async def _authenticated(self, authorization: str) -> Token:
        scheme, _, text = authorization.partition(" ")
        if not authorization or scheme.lower() != "bearer":
            raise _unknown("token-missing", "the request has no token: send the header Authorization: Bearer TOKEN; `earmark tokens add` makes one")
        token = await to_thread.run_sync(self._find_token, text.strip())
        if token is None:
            raise _unknown("token-unknown", "the token is not known here: `earmark tokens add` makes one")
        match token.state(self._now()):
            case "revoked":
                raise _unknown("token-revoked", f"the token {token.name!r} was revoked: `earmark tokens add` makes another")
            case "expired":
                raise _unknown("token-expired", f"the token {token.name!r} has expired: `earmark tokens add` makes another")
            case "valid":
                return token

    def _refuse(self, exchange: _Exchange, error: Exception) -> None:
        """What is answered, if anybody is left to be answered; the first reason counts."""
        if exchange.refusal is None and not exchange.gone:
            exchange.refusal = self._meaning(error)

    def _meaning(self, error: Exception) -> Problem:
        problem = of_error(error)
        if problem is None:
            self._log.error("api.failed", reason=str(error), exc_info=not isinstance(error, EarmarkError))
            return Problem("internal", "something went wrong here, and is in the log: try again, or tell who runs this")
        if problem.status >= 500 and not isinstance(error, Problem):
            self._log.warning("api.failed", reason=str(error))
        return problem

    def _told(self, scope: MutableMapping[str, Any], exchange: _Exchange, seconds: float) -> None:
        """One line, and what is counted. Of what was asked, only what has a route: else it is whatever somebody typed."""
        route = route_of(scope["method"], scope["path"])
        if exchange.problem is not None:
            self._meter.request_refused(exchange.problem.kind)
        self._meter.request_answered(route=route, status=exchange.status, seconds=seconds)
        if route == "GET /healthz":
            return
        token, client = scope["state"].get(TOKEN), scope.get("client")
        about = {"path": one_line(scope["path"])} if route != "other" else {}
        self._log.info(
            "api.request",
            route=route,
            **about,
            status=exchange.status,
            took_ms=round(seconds * 1000, 1),
            received_bytes=exchange.received_bytes,
            sent_bytes=exchange.sent_bytes,
            token=token.name if token else "",
            address=client[0] if client else "",
            **({"problem": exchange.problem.kind, "reason": one_line(exchange.problem.detail)} if exchange.problem else {}),
        )


def route_of(method: str, path: str) -> Route:
    """By its template, whether or not it was served: what is refused is counted, too, where it was asked."""
    asked = f"{'GET' if method == 'HEAD' else method} {path}"
    return next((route for pattern, route in _ROUTES if pattern.fullmatch(asked)), "other")


def _too_often(who: str, wait_s: float, per_minute: int) -> Problem:
    return Problem("rate-limited", f"{who} asks more often than {per_minute} times a minute: wait as long as Retry-After says", headers=later(wait_s))


def _unknown(kind: Refusal, detail: str) -> Problem:
    """RFC 6750, section 3: who came without a token is only told to bring one."""
    error = "" if kind == "token-missing" else ', error="invalid_token"'
    return Problem(kind, detail, headers={"WWW-Authenticate": _CHALLENGE + error})
