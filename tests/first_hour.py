"""README.md as somebody new reads it: every block is typed, in its order, by a reader who has what readers have.

That is a folder of recordings, a clip in which one of them plays, and a live stream; later a database in which a stream of
yesterday is on record; nothing of AWS.
"""

import base64
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

import hits_samples
from earmark.errors import EarmarkError
from earmark.fingerprint.kept import Keeper
from earmark.fingerprint.window import Window
from earmark.hits.kept import KeptRows
from earmark.hits.ledger import Ledger
from earmark.local import music, sound
from earmark.local.database import _installed_binaries, create_database, temporary_server
from earmark.local.music import Piece
from earmark.local.origin import Origin
from earmark.model import RATE_HZ, Float32
from earmark.postgres import migrate, open_pool, transaction
from earmark.settings import Alerts, Database, Results, load
from hearing_sounds import at_8_khz
from newcomer import Newcomer, lend_packages, repository
from radio_station import MP3_FRAME_S, Air, Mount, RadioServer, noise
from readme_blocks import README, Block, blocks

#: The chapter that is a page of its own: its blocks are typed one after the other, from an empty home.
FIRST: Final = "The first hour"
#: The reader's: one that is heard in the clip and was yesterday, one that is on air.
HEARD, ON_AIR = music.catalogue(2)
#: What README calls a recording.
_ISRC: Final = "GBAYE0601498"
#: Recordings are not measured when they are added: in a fresh home that takes longer than all the rest, and other tests do it.
_QUICK: Final = {"EARMARK_CATALOGUE__PROFILES": "false"}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A block, and what was wrong when it was typed; nothing is if it was not to be."""

    block: Block
    wrong: str


def page() -> list[Block]:
    """What README wants typed."""
    return blocks(README.read_text(encoding="utf-8"))


def outcomes() -> Iterator[Outcome]:
    """Of every block: those of the first hour, then the others. Takes some four minutes, two of which are the demo's."""
    first = [block for block in page() if block.chapter == FIRST]
    others = [block for block in page() if block.chapter != FIRST]
    with ExitStack() as stack:
        reader = Reader(stack)
        for block in first:
            yield Outcome(block=block, wrong=reader.wrong(block) if block.is_typed else "")
        reader.has_a_database(stack)
        for block in others:
            yield Outcome(block=block, wrong=reader.wrong(block) if block.is_typed else "")


class Reader:
    """A newcomer with an empty home but for some music, and a stream on air whenever one is to be listened to."""

    def __init__(self, stack: ExitStack, *, user: str = "", environment: Mapping[str, str] | None = None) -> None:
        """For as long as `stack` lasts. `user`, `environment`: as `Newcomer` has them."""
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="earmark-hour-")))
        self.folder.chmod(0o755)  # for whoever the newcomer is, and root's PostgreSQL
        self._server = ""
        self._user, self._origin = user, stack.enter_context(Origin())
        self._newcomer = Newcomer(self.folder, user=user, environment=_QUICK | dict(environment or {}))
        self.home = self._newcomer.home
        self.checkout = self.home / "earmark"
        recordings = self.home / "Music"
        self._own = self._newcomer.own
        self._own |= {"EARMARK": str(repository(self.folder)), "MUSIC": str(recordings), "CLIP": "clip.wav"}
        for piece in (HEARD, ON_AIR):
            _record(recordings / f"{piece.track.title}.flac", piece)
        self._newcomer.give(self.folder)

    def wrong(self, block: Block) -> str:
        """What is; nothing if it can be typed as it stands, and does what README says."""
        try:
            self.types(block)
        except (AssertionError, EarmarkError, KeyError) as error:
            return str(error)
        return ""

    def types(self, block: Block) -> str:
        """What it printed. Raises AssertionError when it fails, EarmarkError for settings that are none, KeyError for what this reader has not got."""
        if block.language == "toml":
            return self._reads(block)
        if "URL" in block.own:
            broadcast = self._origin.publish(f"line-{block.line}", _part(ON_AIR, 15, 20), rate_hz=music.RATE_HZ)
            self._own["URL"] = broadcast.url
            time.sleep(max(0.0, broadcast.on_air - time.time()))
        if "DSN" in block.own:
            name = f"line_{block.line}"
            create_database(self._server, name)
            self._own["DSN"] = self._server.replace("/postgres?", f"/{name}?")
        said = self._newcomer.types(block)
        if self.checkout.exists() and not (self.checkout / ".venv").exists():
            self._settle()
        return said

    def has_a_database(self, stack: ExitStack) -> None:
        """From now on: one that daemons use, an empty one for each block that wants it, and files that README names.

        It goes on in the checkout, where `earmark` and `psql` are commands.
        """
        server = self._server = stack.enter_context(temporary_server())
        daemons = create_database(server, "daemons")
        migrate(daemons)
        hit_id = _hear_yesterday(daemons)
        station = stack.enter_context(RadioServer({"/live.mp3": Mount(air=Air(frames=noise(), frame_s=MP3_FRAME_S))}).running())
        self._newcomer.environment["EARMARK_DATABASE__DSN"] = daemons
        self._own |= {
            "HIT": hit_id,
            "STREAM": hits_samples.STREAM.stream_id,
            "STATION": station.url("/live.mp3"),
            "secret": f"whsec_{base64.b64encode(bytes(32)).decode()}",
        }
        if not self.checkout.exists():
            repository(self.folder / "again").rename(self.checkout)
            self._settle()
        self._newcomer.works_in(self.checkout, self.checkout / ".venv" / "bin", _installed_binaries())
        _record(self.home / "masters" / "one.flac", ON_AIR)
        _record(self.home / "deliveries" / "the same.flac", ON_AIR)
        _record(self.checkout / "song.flac", HEARD)
        _record(self.checkout / "new-single.flac", replace(HEARD, track=replace(HEARD.track, isrc=(_ISRC,))))
        self._newcomer.give(self.home)

    def _settle(self) -> None:
        """In a checkout that is new: in place of what is downloaded, and a clip that somebody has put there."""
        lend_packages(self.checkout, user=self._user)
        sound.write_wav(self.checkout / "clip.wav", sound.under_speech(_part(HEARD, 20, 15), 0, seed=3))
        self._newcomer.give(self.checkout)

    def _reads(self, block: Block) -> str:
        """Settings: a key or a value that nobody knows is refused."""
        file = self.folder / "settings.toml"
        file.write_text(block.typed_with(self._own), encoding="utf-8")
        load(file, environ={})
        return ""


def _record(file: Path, piece: Piece) -> None:
    file.parent.mkdir(exist_ok=True)
    sound.write_flac(file, _rendered(piece.seed), piece.track)


def _part(piece: Piece, begin_s: int, length_s: int) -> Float32:
    return _rendered(piece.seed)[begin_s * music.RATE_HZ : (begin_s + length_s) * music.RATE_HZ]


@cache
def _rendered(seed: int) -> Float32:
    return music.render(next(piece for piece in (HEARD, ON_AIR) if piece.seed == seed))


def _hear_yesterday(dsn: str) -> str:
    """A stream in which one recording was heard, and another that nobody knew, as a worker leaves it; the id of the hit."""
    began = datetime.now(UTC) - timedelta(days=1)
    with open_pool(Database(dsn=dsn)) as pool:
        with transaction(pool) as connection:
            lease = hits_samples.insert_stream(connection, stream=replace(hits_samples.STREAM, started_at=began))
        keeper = Keeper()
        kept = KeptRows(stream_id=lease.stream.stream_id, keeper=keeper)
        known = replace(hits_samples.TRACK, track_id="known", isrc=())
        tracks, now = hits_samples.Catalogue(known), hits_samples.Clock(began + timedelta(minutes=1))
        ledger = Ledger(pool=pool, lease=lease, tracks=tracks, results=Results(), alerts=Alerts(), nudge=lambda: None, now=now, kept=kept)
        play = hits_samples.play(known.track_id, begin_s=5.0, length_s=20.0, state="closed")
        ledger.commit(hits_samples.checkpoint(0.0, clock=began), [play])
        front = keeper.run(0.0, Window())
        heard = at_8_khz(_part(HEARD, 30, 40), music.RATE_HZ)
        front.push(heard)
        front.flush()
        end_s = len(heard) / RATE_HZ
        ledger.commit(hits_samples.checkpoint(end_s, clock=began + timedelta(seconds=end_s), state="ended", end_reason="stream_end"), ())
        with transaction(pool) as connection:
            connection.execute("update stream set state = 'ended', owner = null, lease_until = null, ended_at = now()")
    return play.hit_id
