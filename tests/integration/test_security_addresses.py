"""Nobody is asked who must not be: every form of a forbidden address, by every way, and a listener that counts who comes."""

from contextlib import suppress

import pytest

import earmark.audio.guard
import earmark.web.addresses
from audio_origin import Answer
from earmark.audio.guard import Guard
from earmark.errors import SourceUnsupported
from earmark.settings import Hls
from security_addresses import (
    PLAYLISTS,
    PUBLIC,
    Form,
    LetsEverythingThrough,
    World,
    by_a_playlist,
    by_a_redirect,
    directly,
    forms,
    here_closing,
    tried,
    ways,
    world,
)

#: Fetched without a question: what a form would be if it were allowed.
HARMLESS = Form("http://x.live-video.net/latest/meta-data/", (PUBLIC,))


def test_no_form_of_a_forbidden_address_is_asked_by_any_way(capsys: pytest.CaptureFixture[str]) -> None:
    reached, tries = tried()
    with capsys.disabled():
        print(f"\nrequests that reached a forbidden address: {len(reached)} of {tries:,} ({len(forms())} forms)")  # noqa: T201 - a figure
    assert reached == []
    assert len(forms()) >= 200


@pytest.mark.filterwarnings("ignore:URLs without a scheme")
def test_without_the_guard_they_are_asked() -> None:
    """So the listener is where they lead to, and it is the guard that keeps them away."""
    every = forms()[::4]
    reached, tries = tried(LetsEverythingThrough, every=every)
    assert len(reached) > tries / 2
    assert {line.partition(":")[0] for line in reached} == {way for way, _, _ in ways(every)}


@pytest.mark.parametrize("taken_out", ["is_public", "is_metadata", "is_named_metadata"])
def test_each_half_of_the_guard_is_needed_or_the_other_one_holds(monkeypatch: pytest.MonkeyPatch, taken_out: str) -> None:
    """Of the judgement by address, what is public cannot be spared; metadata services are refused even where a private host is open."""
    every = [Form("http://x.live-video.net/", ("10.0.0.1",)), Form("http://10.9.9.9/", ("169.254.169.254",)), Form("http://169.254.169.254/", ())]
    for module in (earmark.web.addresses, earmark.audio.guard):
        monkeypatch.setattr(module, taken_out, lambda _: taken_out == "is_public", raising=False)
    reached, _ = tried(every=every)
    assert bool(reached) == (taken_out != "is_named_metadata"), reached


@pytest.mark.parametrize("name", PLAYLISTS)
def test_what_is_allowed_is_fetched_by_the_same_ways(name: str) -> None:
    with world() as here:
        here.origin.routes["/latest/meta-data/"] = Answer(b"\x47" * 188)
        with suppress(SourceUnsupported):  # of what it holds, which is no playlist
            by_a_playlist(here, HARMLESS, PLAYLISTS[name])
        assert here.origin.count("/latest/meta-data/") >= 1
        assert set(here.dialled) == {PUBLIC}


def test_what_is_allowed_is_fetched_directly_and_by_a_redirect() -> None:
    with world() as here:
        here.origin.routes["/latest/meta-data/"] = Answer(b"hello")
        directly(here, HARMLESS)
        by_a_redirect(here, HARMLESS)
        assert here.origin.count("/latest/meta-data/") == 2
        assert here.listener.count == 0


# ------------------------------------------------------------------------------------------------ names that change their mind


def rebinding(here: World, *answers: list[str]) -> list[str]:
    """Each look-up is answered by the next of these, the last one for ever; returns who was looked up."""
    left, asked = list(answers), list[str]()

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return left.pop(0) if len(left) > 1 else left[0]

    here.resolve = resolve
    return asked


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """Public when it is looked at, private a moment later: nobody looks a second time."""
    with world() as here, here_closing(here.http()) as http:
        here.origin.routes["/a"] = Answer(b"hello")
        asked = rebinding(here, [PUBLIC], ["127.0.0.1"])
        assert http.get("http://x.live-video.net/a", bytes_max=100).body == b"hello"
        assert (here.dialled, asked, here.listener.count) == ([PUBLIC], ["x.live-video.net"], 0)


def test_a_connection_made_anew_is_checked_anew() -> None:
    """The origin closes the first one; by then the name is ours."""
    with world() as here, here_closing(here.http()) as http:
        here.origin.routes["/a"] = Answer(b"hello", claims_bytes=5, headers={"Connection": "close"})
        rebinding(here, [PUBLIC], ["127.0.0.1"])
        assert http.get("http://x.live-video.net/a", bytes_max=100).body == b"hello"
        with pytest.raises(SourceUnsupported, match="not a public address"):
            http.get("http://x.live-video.net/a", bytes_max=100)
        assert (here.dialled, here.listener.count) == ([PUBLIC], 0)


def test_of_several_addresses_the_forbidden_ones_are_not_tried_even_when_the_others_fail() -> None:
    with world() as here, here_closing(here.http()) as http:
        here.origin.routes["/a"] = Answer(b"hello")
        here.resolve = lambda _host, _port: ["127.0.0.1", "169.254.169.254", PUBLIC, "fd00:ec2::254", "::1"]
        assert http.get("http://x.live-video.net/a", bytes_max=100).body == b"hello"
        assert (here.dialled, here.listener.count) == ([PUBLIC], 0)


@pytest.mark.parametrize("address", ["168.63.129.16", "100.100.100.200", "192.0.0.192", "fd20:ce::254", "169.254.170.23", "::169.254.169.254"])
def test_a_metadata_service_is_refused_where_the_operator_opened_the_host(address: str) -> None:
    guard = Guard(settings=Hls(allow_private=("cdn.internal:443",)), resolve=lambda _host, _port: [address])
    with pytest.raises(SourceUnsupported, match="metadata service"):
        guard.addresses("cdn.internal", 443)


@pytest.mark.parametrize("address", ["192.0.0.8", "192.88.99.1", "3fff::1", "5f00::1", "fec0::1", "64:ff9b:1::5db8:d822", "2001::1"])
def test_what_is_special_is_not_public_whatever_this_python_says(address: str) -> None:
    with pytest.raises(SourceUnsupported, match="not a public address"):
        Guard(settings=Hls(), resolve=lambda _host, _port: [address]).addresses("x.live-video.net", 443)


@pytest.mark.parametrize("address", ["93.184.216.34", "64:ff9b::5db8:d822", "2002:5db8:d822::1", "2606:2800:220:1::1", "192.0.1.1", "2620:4f:8000::1"])
def test_what_is_public_stays_so(address: str) -> None:
    assert Guard(settings=Hls(), resolve=lambda _host, _port: [address]).addresses("x.live-video.net", 443) == [address]
