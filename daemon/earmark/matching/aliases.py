"""A play that is heard by the sound of an alias: in that one's seconds, and in those of the recording that it is told as."""

from dataclasses import replace
from math import log2

from earmark.alias import Alias, HeardAs, Span
from earmark.model import Play


def as_told(play: Play, alias: Alias) -> Play:
    """A play of an alias, in the seconds of the recording that it is told as, if it is known where in that they are."""
    placed = alias.placed(play.reference_begin_s, play.reference_end_s)
    own = HeardAs(
        track_id=alias.track_id,
        begin_s=play.reference_begin_s,
        end_s=play.reference_end_s,
        duration_s=play.reference_duration_s,
        speed=play.speed,
        pitch_cents=play.pitch_cents,
        placed=placed is not None,
    )
    if placed is None:
        return replace(play, heard_as=own)
    return replace(
        play,
        heard_as=own,
        reference_begin_s=placed[0],
        reference_end_s=placed[1],
        reference_duration_s=alias.of_duration_s,
        speed=play.speed * alias.speed,
        pitch_cents=play.pitch_cents + 1_200 * log2(alias.speed),  # what was made faster was made higher: how a copy of another speed comes about
    )


def as_heard(play: Play) -> tuple[Play, Alias | None]:
    """The same the other way round, and the alias as far as the play tells of it: its seconds of then."""
    own = play.heard_as
    if own is None:
        return play, None
    span = Span(begin_s=own.begin_s, end_s=own.end_s, other_begin_s=play.reference_begin_s, other_end_s=play.reference_end_s)
    known = own.placed and span.end_s > span.begin_s
    alias = Alias(
        track_id=own.track_id, of_duration_s=play.reference_duration_s, speed=play.speed / own.speed if known else 1.0, spans=(span,) if known else ()
    )
    heard = replace(
        play,
        reference_begin_s=own.begin_s,
        reference_end_s=own.end_s,
        reference_duration_s=own.duration_s,
        speed=own.speed,
        pitch_cents=own.pitch_cents,
    )
    return heard, alias
