"""A clip from a stranger to what is in it: received in bounds, decoded apart, matched within a time, a few at once."""

import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from anyio import CapacityLimiter, to_thread

from earmark import clip as clips
from earmark.api.apart import TooLong, decoded
from earmark.api.problems import Problem, busy
from earmark.clip import Catalogue, Clip
from earmark.errors import BadSettings
from earmark.index.catalogue import Tracks
from earmark.model import FINGERPRINT_VERSION, MatchParams
from earmark.postgres import Pool
from earmark.settings import Api

_JSON: Final = "application/json"
#: What is tried as audio, whatever comes behind the slash.
_AUDIO: Final = ("audio/", "video/", "application/ogg", "application/octet-stream")
#: Those that wait for their turn, for each that is at work.
_WAITING_MAX: Final = 2


@dataclass(kw_only=True)
class _Turns:
    """Who is at work or waits for it, counted on the event loop."""

    limiter: CapacityLimiter
    taken: int = 0


class Identifying:
    """`answer` is called on the event loop."""

    def __init__(self, *, pool: Pool, catalogue: Catalogue, params: MatchParams, settings: Api, preload: str) -> None:
        """`preload`: see `apart.decoded`. Raises BadSettings when there is nowhere to put a file."""
        self._tracks = Tracks(pool=pool)
        self._catalogue = catalogue
        self._params = params
        self._settings = settings
        self._preload = preload
        self._turns: _Turns | None = None
        try:
            tempfile.gettempdir()
        except OSError:
            raise BadSettings("the role api needs a folder for audio that is to be identified: mount one at /tmp, or name it by TMPDIR") from None

    async def answer(self, content_type: str, body: AsyncIterator[bytes]) -> dict[str, Any]:
        """As `earmark identify --json` tells it. Raises Problem, and what `decoded` and `from_text` raise."""
        kind = content_type.partition(";")[0].strip().lower()
        if kind == _JSON:
            text = b"".join([part async for part in body])
            return await self._in_turn(lambda deadline_s: self._matched(clips.from_text(text, longest_s=self._settings.identify_s_max), deadline_s))
        if not kind.startswith(_AUDIO):
            raise Problem("unsupported-media-type", "the body is neither audio nor application/json: name what it is by the header Content-Type")
        with tempfile.NamedTemporaryFile(prefix="earmark-", suffix=".clip") as file:
            async for part in body:
                file.write(part)
            file.flush()
            return await self._in_turn(lambda deadline_s: self._matched(self._decoded(Path(file.name), deadline_s), deadline_s))

    def _decoded(self, path: Path, deadline_s: float) -> Clip:
        return decoded(path, longest_s=self._settings.identify_s_max, deadline_s=deadline_s, preload=self._preload)

    def _matched(self, clip: Clip, deadline_s: float) -> dict[str, Any]:
        def asking() -> None:
            if time.monotonic() > deadline_s:
                raise TooLong("the clip was not identified in time: send less of it")

        found = clips.matches(clip, self._catalogue, self._params, asking=asking)
        known = self._tracks.get([match.track_id for match in found])
        rows = [clips.as_row(match, known.get(match.track_id)) for match in found]
        return {"duration_s": clip.duration_s, "fingerprint_version": FINGERPRINT_VERSION, "matches": rows}

    async def _in_turn(self, work: Any) -> dict[str, Any]:
        at_once = self._settings.identify_at_once
        turns = self._turns = self._turns or _Turns(limiter=CapacityLimiter(at_once))
        if turns.taken >= at_once * (1 + _WAITING_MAX):
            raise busy(f"{turns.taken} clips are being identified, or wait for it: try again in a moment")
        turns.taken += 1
        try:
            return await to_thread.run_sync(lambda: work(time.monotonic() + self._settings.identify_wait_s), limiter=turns.limiter)
        except TooLong as error:
            raise busy(str(error)) from None
        finally:
            turns.taken -= 1
