"""An address of a plain form, judged by its origin, is what the guard would have made of the whole of it."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from earmark.audio.guard import Guard
from earmark.audio.target import _PLAIN, Target, Targets
from earmark.errors import SourceUnsupported
from earmark.settings import Hls
from earmark.web.connections import Origin


class Lenient(Guard):
    """Refuses what is no URL."""

    def __init__(self) -> None:
        super().__init__(settings=Hls())
        self.asked: list[str] = []

    def checked(self, url: str, *, named_host: str = "") -> Url:
        self.asked.append(url)
        try:
            return parse_url(url)
        except LocationParseError:
            raise SourceUnsupported("no URL") from None


AUTHORITY = st.text("ab01.-:", min_size=1, max_size=12)
PIECES = [*"aZ0_~!$&'()*+,;=:@/?.-", "%", "2", "F", "/.", "/..", "//", "%2F", "%2f", "%41", "é", "#", "\\", " ", "\n", "|", "["]
PATH = st.lists(st.sampled_from(PIECES), max_size=12)


@settings(suppress_health_check=[HealthCheck.filter_too_much])  # what is not plain is the guard's
@given(scheme=st.sampled_from(["http", "https"]), authority=AUTHORITY, path=PATH.map("".join))
def test_it_is_what_the_whole_address_is(scheme: str, authority: str, path: str) -> None:
    url = f"{scheme}://{authority}/{path}"
    plain = _PLAIN.fullmatch(url)
    assume(plain)
    targets = Targets(Lenient())
    try:
        whole: Target | None = targets._checked(url, "")
    except (SourceUnsupported, ValueError):
        whole = None
    try:
        found: Target | None = targets.of(url, named_host="")
    except (SourceUnsupported, ValueError):
        found = None
    assert found == whole


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/../b", "http://a.example/.", "http://a.example/%2e%2e/b", "http://A.example/", "http://a.example", "http://u@a.example/", "http://[::1]/",
        "http://a.example:123456/", "http://a.example\\@b.example/", "http://a.example#/", "http://a.example?/", "http://a.example/ b", "http://a.example/\n",
        "http:///a", "HTTP://a.example/", "ftp://a.example/", "http://a.example/\u0661", "http://a.example:\u0661/",
    ],
)  # fmt: skip
def test_any_other_goes_to_the_guard_each_time(url: str) -> None:
    guard = Lenient()
    targets = Targets(guard)
    for _ in range(2):
        with suppress(SourceUnsupported, ValueError):
            targets.of(url, named_host="")
    assert guard.asked == [url, url]


def test_an_origin_is_judged_once_for_each_who_may_ask_it() -> None:
    """What one stream's operator named is not allowed to another stream."""
    targets = Targets(Guard(settings=Hls()))
    assert targets.of("https://radio.example/a", named_host="radio.example").path == "/a"
    assert targets.of("https://radio.example/b?c", named_host="radio.example").path == "/b?c"
    for _ in range(2):
        with pytest.raises(SourceUnsupported, match="not fetched from"):
            targets.of("https://radio.example/a", named_host="")
        with pytest.raises(SourceUnsupported, match="plain http"):
            targets.of("http://radio.example/a", named_host="radio.example")


@pytest.mark.parametrize(
    "url, origin, authority",
    [
        ("https://x.live-video.net/a", Origin("https", "x.live-video.net", 443), "x.live-video.net"),
        ("https://X.live-video.net:443/a", Origin("https", "x.live-video.net", 443), "x.live-video.net"),
        ("https://x.live-video.net:8443/a", Origin("https", "x.live-video.net", 8443), "x.live-video.net:8443"),
        ("https://[2606:2800:220:1::1]/a", Origin("https", "2606:2800:220:1::1", 443), "[2606:2800:220:1::1]"),
        ("https://[2606:2800:220:1::1]:80/a", Origin("https", "2606:2800:220:1::1", 80), "[2606:2800:220:1::1]:80"),
    ],
)
def test_an_origin_as_it_is_connected_to_and_as_it_is_told(url: str, origin: Origin, authority: str) -> None:
    found = Targets(Guard(settings=Hls(allow_hosts=("x.live-video.net", "[2606:2800:220:1::1]")))).of(url, named_host="")
    assert (found.origin, found.origin.authority, found.path) == (origin, authority, "/a")
