"""The cut list as programs take it: a filter of FFmpeg's, clippings of a MediaConvert job, an edit decision list; pure.

FFmpeg mutes and leaves picture and length as they are; so does the edit decision list, which lays the sound in pieces under
the whole picture. MediaConvert has no way to mute a passage: what is to go is clipped out, picture and all.
"""

import math
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

from earmark.errors import BadSettings
from earmark.hits.reports.cuts import CutList
from earmark.hits.text import ascii_line, dumps, one_line

#: Frames into which sound is cut before a filter looks at the time: it is switched on and off between two of them.
_SAMPLES: Final = 256
#: So many cuts are asked one after the other; of more, first in which half the time is. FFmpeg nests parentheses a hundred deep.
_AT_ONCE: Final = 16
#: What the two digits of a time code's frames can say; audio without pictures is counted in hundredths (MediaConvert user guide, "Setting up timecodes").
FPS_MAX: Final = 100
_DAY_S: Final = 86_400
#: CMX 3600 numbers its events with three digits.
_EVENTS_MAX: Final = 999
_RATE: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6}|/[1-9][0-9]{0,5})?")
#: Rates that are spoken of by a rounded number: 29.97 is 30,000/1,001.
_NTSC: Final = {"23.976": 24, "23.98": 24, "29.97": 30, "47.952": 48, "59.94": 60}


def ffmpeg(cut_list: CutList) -> str:
    """A filtergraph for `-af`, or in a file for `-/filter:a` (before FFmpeg 7: `-filter_script:a`), which any number of cuts fits in."""
    spans = cut_list.spans()
    if not spans:
        return "anull\n"
    return f"asetnsamples=n={_SAMPLES}:p=0,volume=volume=0:enable='{_within(spans)}'\n"


def _within(spans: Sequence[tuple[float, float]]) -> str:
    """Whether `t` lies in one of the spans, as an expression."""
    if len(spans) <= _AT_ONCE:
        return "+".join(f"between(t,{begin_s:.3f},{end_s:.3f})" for begin_s, end_s in spans)
    middle = len(spans) // 2
    return f"if(lt(t,{spans[middle][0]:.3f}),{_within(spans[:middle])},{_within(spans[middle:])})"


def mediaconvert(cut_list: CutList, fps: Fraction) -> str:
    """What a job's input needs for the parts that stay, one after the other: time codes from zero, in frames of the input.

    Raises BadSettings where nothing would stay, or a time code cannot say it.
    """
    clips = []
    for first, last in _kept_frames(cut_list, fps):
        clip = {"StartTimecode": timecode(first, fps)}
        if last is not None:  # the frame at the end belongs to the clip (AWS Elemental MediaConvert API, InputClipping)
            clip["EndTimecode"] = timecode(last, fps)
        clips.append(clip)
    if not cut_list.spans():
        clips = []  # all of it
    elif not clips:
        raise BadSettings("nothing of the stream would be left, so there is nothing to clip: its recording is not to be published at all")
    return dumps({"TimecodeSource": "ZEROBASED", "InputClippings": clips}, indent=2) + "\n"


def edl(cut_list: CutList, fps: Fraction) -> str:
    """CMX 3600: the whole picture, and below it the sound in the pieces that stay, each where it was.

    Raises BadSettings for more pieces than such a list can number, or a time code that cannot say it.
    """
    end = _frame(cut_list.length_s, fps)
    pieces = [(first, end if last is None else last + 1) for first, last in _kept_frames(cut_list, fps)]
    pieces = [(first, after) for first, after in pieces if after > first]
    if len(pieces) >= _EVENTS_MAX:
        raise BadSettings(f"an edit decision list numbers its events up to {_EVENTS_MAX}, and these would be {len(pieces) + 1:,}: use --format ffmpeg or cuts")
    stream = cut_list.report.stream
    name = ascii_line(stream.channel_name or stream.stream_id)[:60] or "stream"
    lines = [f"TITLE: {name}", "FCM: NON-DROP FRAME", ""]
    for number, (kind, first, after) in enumerate([("V ", 0, end), *(("A ", *piece) for piece in pieces)], start=1):
        from_to = f"{timecode(first, fps)} {timecode(after, fps)}"
        lines += [f"{number:03}  AX       {kind}    C        {from_to} {from_to}", f"* FROM CLIP NAME: {name}"]
    return "\n".join(lines) + "\n"


def _kept_frames(cut_list: CutList, fps: Fraction) -> Iterator[tuple[int, int | None]]:
    """First and last frame of each part that stays and holds a frame; None: to the end of the recording, wherever that is."""
    here_s = 0.0
    for begin_s, end_s in cut_list.spans():
        first, last = math.ceil(_exactly(here_s) * fps), math.floor(_exactly(begin_s) * fps) - 1
        if last >= first:
            yield first, last
        here_s = end_s
    if here_s < cut_list.length_s or not here_s:
        yield math.ceil(_exactly(here_s) * fps), None


def _exactly(seconds: float) -> Fraction:
    """To the millisecond, as all of these are."""
    return Fraction(round(seconds * 1000), 1000)


def _frame(seconds: float, fps: Fraction) -> int:
    return math.floor(_exactly(seconds) * fps)


def timecode(frame: int, fps: Fraction) -> str:
    """HH:MM:SS:FF, non-drop: frames are counted by the rate's next whole number. Raises BadSettings beyond a day."""
    a_second = math.ceil(fps)
    seconds, frames = divmod(frame, a_second)
    if seconds >= _DAY_S:
        raise BadSettings("a time code ends after 24 hours, and this stream is longer: use --format cuts or ffmpeg, which count seconds")
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frames:02}"


def frame_rate(text: str) -> Fraction:
    """25, 29.97, 30000/1001. Raises ValueError."""
    if text in _NTSC:
        return Fraction(_NTSC[text] * 1000, 1001)
    if not _RATE.fullmatch(text) or not 1 <= (fps := Fraction(text)) <= FPS_MAX:
        raise ValueError(f"{one_line(text)!r} is no frame rate: write 25, 29.97 or 30000/1001, from 1 to {FPS_MAX}")
    return fps
