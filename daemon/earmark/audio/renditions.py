"""Which of a stream's renditions is listened to. Pure: a multivariant playlist in, one of its renditions out."""

from collections.abc import Sequence
from dataclasses import replace

from earmark.audio.playlist import Master, Rendition
from earmark.errors import SourceUnsupported

#: Of many renditions, for people.
LANGUAGES_SHOWN_MAX = 8
_AUDIO_CODECS = ("mp4a", "ac-3", "ec-3", "opus", "flac", "alac", "mp3")
#: What packagers give the sound of small pictures, kbit/s up to so many lines (Amazon IVS's ladder); larger: the source's.
_LADDER = ((240, 48), (400, 64))
#: The same, told by the whole variant's bits per second where it does not say how large its picture is.
_LADDER_BY_BANDWIDTH = ((400_000, 48), (900_000, 64))
_SOURCE_KBPS = 128


def choose(master: Master, *, audio_kbps_min: float, languages: Sequence[str] = ()) -> Rendition:
    """What to listen to: sound alone if there is any, else the smallest picture whose sound is good enough, else the best.

    Of several languages one, which is the same in every reading: the first of `languages` that there is, else the packager's
    default (RFC 8216, section 4.3.4.1.1). Raises SourceUnsupported when there is nothing to choose from.
    """
    sound = sorted((v for v in master.variants if v.audio_only), key=lambda v: v.bandwidth)
    good = [v for v in sound if not v.bandwidth or v.bandwidth >= audio_kbps_min * 1000]
    if good and not (languages and master.audio):
        return good[0]
    alone = [rendition for rendition in master.audio if rendition.url]
    if alone or (languages and master.audio):
        return _of_group(master, audio_kbps_min, languages)
    if sound:
        return sound[-1]
    return _picture(master, audio_kbps_min)


def _of_group(master: Master, audio_kbps_min: float, languages: Sequence[str]) -> Rendition:
    """Of the group that the smallest good variant refers to, or of any if the language asked for is only there."""
    variant = _picture(master, audio_kbps_min) if master.variants else None
    said = [rendition for rendition in master.audio if not rendition.described] or list(master.audio)
    near = [rendition for rendition in said if variant and rendition.group == variant.group] or said
    asked = next((rendition for language in languages for rendition in [*near, *said] if _speaks(rendition, language)), None)
    if asked:
        chosen, why = asked, "as hls.languages asks"
    elif default := next((rendition for rendition in near if rendition.default), None):
        chosen, why = default, "the default"
    else:
        chosen, why = next(((r, "the first that is chosen by itself") for r in near if r.autoselect), (near[0], "the first"))
    if len(said) > 1:
        others = ", ".join(dict.fromkeys(rendition.language or rendition.name or "unnamed" for rendition in said[:LANGUAGES_SHOWN_MAX]))
        chosen = replace(chosen, why=f"{why} of {len(said)} ({others})")
    if chosen.url:
        return chosen
    carrier = next((v for v in sorted(master.variants, key=lambda v: (v.bandwidth, v.height)) if v.group == chosen.group), variant)
    if carrier is None:
        raise SourceUnsupported("lists sound without an address: there is nothing to listen to")
    return replace(carrier, name=chosen.name, language=chosen.language, why=chosen.why)


def _speaks(rendition: Rendition, language: str) -> bool:
    """RFC 4647, section 3.3.1: en is spoken by en-GB too."""
    there, asked = rendition.language.lower(), language.lower()
    return there == asked or there.startswith(asked + "-")


def _picture(master: Master, audio_kbps_min: float) -> Rendition:
    audible = [v for v in master.variants if not v.codecs or any(codec.lower().startswith(_AUDIO_CODECS) for codec in v.codecs)]
    ladder = sorted(audible or master.variants, key=lambda v: (v.bandwidth, v.height))
    if not ladder:
        raise SourceUnsupported("lists no rendition: there is nothing to listen to")
    return next((v for v in ladder if _audio_kbps(v) >= audio_kbps_min), ladder[-1])


def _audio_kbps(variant: Rendition) -> int:
    """An estimate: no playlist says what part of a variant is sound."""
    ladder, value = (_LADDER, variant.height) if variant.height else (_LADDER_BY_BANDWIDTH, variant.bandwidth)
    return next((kbps for most, kbps in ladder if value <= most), _SOURCE_KBPS)
