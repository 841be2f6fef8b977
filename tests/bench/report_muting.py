"""A recording is muted by its cut list: what can still be heard of the catalogue, and what is lost besides; see `muting`."""

from typing import Any, Final

from bench.rows import row
from muting import muted_figures

COMMAND: Final = "make bench-report ONLY=muting"
PROGRAMMES: Final = 6


def rows() -> list[dict[str, Any]]:
    """Measures for some two minutes."""
    found = muted_figures(programmes=PROGRAMMES)
    against = f"{PROGRAMMES} generated programmes of three minutes, heard by a session, muted by FFmpeg"
    return [
        row("muted recording: catalogued seconds still audible", found.audible_s, "s", bar=0, against=against, command=COMMAND),
        row("muted recording: other seconds muted beyond 1 s edges", found.lost_share, "", bar=0.02, against=against, command=COMMAND),
        row("muted recording: recordings still recognised", found.recognised, "", bar=0, against="earmark identify", command=COMMAND),
    ]
