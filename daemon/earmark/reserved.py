"""Names that are ours: by its first letters a stream or a recording is known as the canary's, wherever it is met."""

from typing import Final

#: What a stream_id, or a track_id, of the canary begins with. No stream that somebody names can have a colon in its id, and
#: nobody's recording is added under such a track_id.
CANARY: Final = "canary:"
#: The one recording of the canary.
CANARY_RECORDING: Final = f"{CANARY}recording"


def is_canary(name: str) -> bool:
    """Of a stream_id, or a track_id."""
    return name.startswith(CANARY)
