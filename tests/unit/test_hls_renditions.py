"""Which rendition is listened to, and what is said of it, where there are several groups and languages."""

import pytest

from earmark.audio.playlist import Master, parse
from earmark.audio.renditions import choose

LANGUAGES = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="low",NAME="English",LANGUAGE="en-GB",DEFAULT=YES,AUTOSELECT=YES,URI="low/en.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="low",NAME="Deutsch",LANGUAGE="de",AUTOSELECT=YES,URI="low/de.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="low",NAME="English, described",LANGUAGE="en-GB",CHARACTERISTICS="public.accessibility.describes-video",URI="low/ad.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="high",NAME="English",LANGUAGE="en-GB",DEFAULT=YES,AUTOSELECT=YES,URI="high/en.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="high",NAME="Deutsch",LANGUAGE="de",AUTOSELECT=YES,URI="high/de.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="high",NAME="Cymraeg",LANGUAGE="cy",AUTOSELECT=YES,URI="high/cy.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=300000,RESOLUTION=320x180,CODECS="avc1.4d4015,mp4a.40.5",AUDIO="low"
180.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=2400000,RESOLUTION=1280x720,CODECS="avc1.4d401f,mp4a.40.2",AUDIO="high"
720.m3u8
"""
#: The default is inside the variants; only the others have addresses.
INSIDE = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="English",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="Español",LANGUAGE="es",AUTOSELECT=YES,URI="es.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=630000,RESOLUTION=640x360,CODECS="avc1.4d401e,mp4a.40.2",AUDIO="a"
360.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=300000,RESOLUTION=320x180,CODECS="avc1.4d4015,mp4a.40.2",AUDIO="a"
180.m3u8
"""


def chosen(text: str, *languages: str, kbps: float = 64) -> tuple[str, str, str]:
    playlist = parse(text, "https://x/")
    assert isinstance(playlist, Master)
    rendition = choose(playlist, audio_kbps_min=kbps, languages=languages)
    return rendition.url.removeprefix("https://x/"), str(rendition), rendition.why


@pytest.mark.parametrize(
    "kbps, languages, expected",
    [
        (40, (), ("low/en.m3u8", "audio only, English [en-GB]", "the default of 5 (en-GB, de, cy)")),
        (64, (), ("high/en.m3u8", "audio only, English [en-GB]", "the default of 5 (en-GB, de, cy)")),
        (40, ("de",), ("low/de.m3u8", "audio only, Deutsch [de]", "as hls.languages asks of 5 (en-GB, de, cy)")),
        (40, ("fr", "en"), ("low/en.m3u8", "audio only, English [en-GB]", "as hls.languages asks of 5 (en-GB, de, cy)")),
        (40, ("cy",), ("high/cy.m3u8", "audio only, Cymraeg [cy]", "as hls.languages asks of 5 (en-GB, de, cy)")),
        (40, ("fr",), ("low/en.m3u8", "audio only, English [en-GB]", "the default of 5 (en-GB, de, cy)")),
    ],
)
def test_of_several_languages_one_is_heard_and_it_is_said_why(kbps: float, languages: tuple[str, ...], expected: tuple[str, str, str]) -> None:
    """Of the group that the smallest variant with good sound refers to; what is said for the blind is left to them."""
    assert chosen(LANGUAGES, *languages, kbps=kbps) == expected


def test_without_a_default_the_first_that_may_be_chosen_by_itself() -> None:
    no_default = LANGUAGES.replace("DEFAULT=YES,", "").replace('"en-GB",AUTOSELECT=YES', '"en-GB"')
    assert chosen(no_default, kbps=40)[::2] == ("low/de.m3u8", "the first that is chosen by itself of 5 (en-GB, de, cy)")
    assert chosen(no_default.replace(",AUTOSELECT=YES", ""), kbps=40)[::2] == ("low/en.m3u8", "the first of 5 (en-GB, de, cy)")


def test_sound_without_an_address_is_heard_inside_a_variant() -> None:
    assert chosen(INSIDE, kbps=40) == (
        "180.m3u8",
        "320x180, 300 kbit/s, avc1.4d4015,mp4a.40.2, English [en]",
        "the default of 2 (en, es)",
    )
    assert chosen(INSIDE, "es") == ("es.m3u8", "audio only, Español [es]", "as hls.languages asks of 2 (en, es)")


def test_one_rendition_needs_no_reason() -> None:
    one = "\n".join(line for line in INSIDE.splitlines() if "English" not in line)
    assert chosen(one) == ("es.m3u8", "audio only, Español [es]", "")


def test_a_variant_of_sound_alone_goes_before_groups_unless_a_language_is_asked_for() -> None:
    both = LANGUAGES + '#EXT-X-STREAM-INF:BANDWIDTH=96000,CODECS="mp4a.40.2"\nsound.m3u8\n'
    assert chosen(both)[0] == "sound.m3u8"
    assert chosen(both, "de")[0].endswith("de.m3u8")
