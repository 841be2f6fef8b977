"""Reference recordings into the catalogue, through the same fingerprint path as streams.

    path -> SHA-256 -> known already? -> samples -> peaks (processes) -> duplicate? -> one transaction a batch

Files are taken in order, a few ahead on other processes, so that the first of two equal ones is the one that counts
and a second run finds what the first one left. Nothing that is wrong with one file touches another: each ends as a
`Result` with a sentence. Nothing that is ready waits for what is not: a kill loses only what was under way, and running
again adds just that.

What is new is compared with what is there (`earmark.relating`), so that hearing knows which stretches of it are in other
recordings too; and if it is one of those, at another bitrate or cut, it becomes what the settings say.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from earmark import duplicates as sounds
from earmark.audio.file import read_tags
from earmark.duplicates import Policy
from earmark.errors import UnreadableAudio
from earmark.index.catalogue import Recording, Tracks, prepare
from earmark.index.constellations import sha256
from earmark.index.overlaps import two_recordings
from earmark.index.upkeep import upkeep
from earmark.model import Track
from earmark.postgres import Pool, transaction
from earmark.reference import Fingerprinted, Source, content_sha256, describe, fingerprint_file, refuse_unstorable
from earmark.relating import Judged, Relating

#: What a folder is searched for. A file that is named itself is tried whatever its name.
SUFFIXES: Final = frozenset(
    ".aac .ac3 .aif .aifc .aiff .alac .amr .ape .au .caf .flac .m4a .m4b .mka .mkv .mov .mp2 .mp3 .mp4 .mpc .oga .ogg .opus .ts .wav".split()  # noqa: SIM905 - a line of words
) | {".wave", ".webm", ".wma", ".wv"}
#: Written together: what is ready, at most so many.
_BATCH: Final = 128

#: `linked`: added as an alias of another one.
Outcome = Literal["added", "unchanged", "updated", "replaced", "linked", "duplicate", "refused"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one file."""

    path: Path
    outcome: Outcome
    #: The recording it is in the catalogue, or the one it is a duplicate of; None if it was refused.
    track_id: str | None
    #: For people: what happened, and why.
    sentence: str
    duration_s: float = 0.0
    #: What is wrong with its ISRCs, beside those of others: a sentence each.
    clashes: tuple[str, ...] = ()


def files(paths: Iterable[Path]) -> list[Path]:
    """Files as they are named, folders as the audio files below them, by name; hidden ones are left out, none comes twice."""
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            found[path] = None
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found.update({Path(folder, name): None for name in sorted(names) if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES})
    return list(found)


# ------------------------------------------------------------------------------------------------ many files


def ingest(
    sources: Iterable[Path | Source],
    *,
    pool: Pool,
    jobs: int | None = None,
    shared_passages: bool = True,
    duplicates: Policy = "keep",
    progress: Callable[[int, int, Result], None] | None = None,
) -> Iterator[Result]:
    """Add files, and the audio files in folders, to the catalogue; one result a file, in order.

    Args:
        sources: paths, or paths with what is known about them.
        jobs: processes that decode and fingerprint; by default one a core. One: all of it happens here.
        shared_passages: find out what each recording shares with the others; without, that is made up for when the same
            files are added again with it.
        duplicates: what becomes of one that sounds like another one that is there. Is not known without `shared_passages`.
        progress: called with each result: how many are done, out of how many, and the result.

    Raises DatabaseUnavailable or FingerprintMismatch: what was yielded before is in the catalogue.
    """
    todo = _expanded(sources)
    tracks = Tracks(pool=pool)
    tracks.check_version()
    relating = Relating(pool=pool, duplicates=duplicates) if shared_passages else None
    with _Workers(min(jobs or os.cpu_count() or 1, len(todo))) as workers:
        done = 0
        for results in _Intake(pool=pool, tracks=tracks, workers=workers, relating=relating).take(todo):
            for result in results:
                done += 1
                if progress:
                    progress(done, len(todo), result)
                yield result


def _expanded(sources: Iterable[Path | Source]) -> list[Source]:
    made: dict[Path, Source] = {}
    for source in sources:
        for one in [source] if isinstance(source, Source) else [Source(path=path) for path in files([source])]:
            made.setdefault(one.path, one)
    return list(made.values())


class _Workers:
    """Processes that fingerprint. A file that kills its process is found out, and costs nobody else anything."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._executor: ProcessPoolExecutor | None = None
        #: Files to begin before the first one is waited for.
        self.ahead = 2 * jobs if jobs > 1 else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._executor:
            self._executor.shutdown(cancel_futures=True)

    def begin(self, path: Path) -> "_Work":
        if self._jobs <= 1:
            return _Work(path, None)
        try:
            return _Work(path, self._running().submit(fingerprint_file, path))
        except BrokenProcessPool:
            self._executor = None
            return _Work(path, self._running().submit(fingerprint_file, path))

    def _running(self) -> ProcessPoolExecutor:
        # Spawned: a fork would share our database connections.
        self._executor = self._executor or ProcessPoolExecutor(self._jobs, mp_context=get_context("spawn"))
        return self._executor


class _Work:
    """One file being fingerprinted, elsewhere, or here when the result is asked for."""

    def __init__(self, path: Path, future: Future[Fingerprinted] | None) -> None:
        self._path = path
        self._future = future

    @property
    def ready(self) -> bool:
        return self._future is not None and self._future.done()

    def result(self) -> Fingerprinted:
        """Raises UnreadableAudio."""
        if self._future is None:
            return fingerprint_file(self._path)
        try:
            return self._future.result()
        except BrokenProcessPool:  # by this file, or by another one that was in the same processes
            return self._alone()

    def _alone(self) -> Fingerprinted:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            try:
                return alone.submit(fingerprint_file, self._path).result()
            except BrokenProcessPool:
                raise UnreadableAudio(f"{self._path} cannot be fingerprinted: the process that decoded it died") from None


@dataclass(kw_only=True, eq=False)
class _Item:
    """One file on its way: it ends with a result, at once or when its recording is written."""

    source: Source
    content: bytes = b""
    work: _Work | None = None
    #: The first file of this run with the same bytes.
    twin: "_Item | None" = None
    recording: Recording | None = None
    #: The catalogue has it by its id, and it sounds the same: only its description, or what it shares, may be new.
    there: bool = False
    #: A file of this run that has its ISRC.
    namesake: Path | None = None
    result: Result | None = None

    @property
    def ready(self) -> bool:
        """It can be decided without waiting."""
        return self.work is None or self.work.ready

    @property
    def track_id(self) -> str | None:
        return self.recording.track.track_id if self.recording else self.result.track_id if self.result else None

    def end(self, outcome: Outcome, track_id: str | None, sentence: str, *, clashes: tuple[str, ...] = ()) -> None:
        duration_s = self.recording.track.duration_s if self.recording else 0.0
        self.result = Result(path=self.source.path, outcome=outcome, track_id=track_id, sentence=sentence, duration_s=duration_s, clashes=clashes)


class _Intake:
    """Decides, file after file, and writes batch after batch."""

    def __init__(self, *, pool: Pool, tracks: Tracks, workers: _Workers, relating: Relating | None) -> None:
        self._pool = pool
        self._tracks = tracks
        self._relating = relating
        self._workers = workers
        self._batch: list[_Item] = []
        #: Recordings since they were last packed.
        self._written = 0
        # Of this run: what was begun by content, and what is (about to be) in the catalogue by id and constellation.
        self._by_content: dict[bytes, _Item] = {}
        self._by_id: dict[str, Path] = {}
        self._by_peaks: dict[bytes, str] = {}

    def take(self, todo: Sequence[Source]) -> Iterator[list[Result]]:
        begun: deque[_Item] = deque()
        left = iter(todo)
        while True:
            begun.extend(self._begin(source) for _, source in zip(range(self._workers.ahead + 1 - len(begun)), left, strict=False))
            if not begun:
                results = self._write()
                self._tidy()
                yield results
                return
            item = begun.popleft()
            if self._batch and (len(self._batch) >= _BATCH or not item.ready):
                yield self._write()
            self._decide(item)
            self._batch.append(item)

    def _begin(self, source: Source) -> _Item:
        item = _Item(source=source)
        try:
            refuse_unstorable(source)
            item.content = content_sha256(source.path)
            item.twin = self._by_content.setdefault(item.content, item)
            if (item.twin is item or source.track_id) and not self._known(item):
                item.work = self._workers.begin(source.path)
        except UnreadableAudio as error:
            item.end("refused", None, str(error))
        return item

    def _known(self, item: _Item) -> bool:
        """The catalogue has these very bytes, and knows what they share: at most their description is new."""
        track_ids = self._tracks.same_content(item.content)
        if not track_ids:
            return False
        path = item.source.path
        track = describe(item.source, read_tags(path), item.content, 0.0)
        if track.track_id in track_ids and self._relating and self._relating.owes(track.track_id):
            return False
        outcome = self._tracks.describe(track, content_sha256=item.content) if track.track_id in track_ids else None
        if outcome:
            item.end(outcome, track.track_id, _SENTENCES[outcome].format(path=path, track_id=track.track_id))
        elif item.source.track_id is None:
            item.end("duplicate", track_ids[0], f"{path} is not added: the catalogue has the same file as {track_ids[0]}")
        return item.result is not None

    def _decide(self, item: _Item) -> None:
        """Give the item its result, or the recording that is to be written."""
        path, twin = item.source.path, item.twin
        if item.result is None and item.work is None and twin is not None:
            if twin.track_id is None:
                item.end("refused", None, f"{path} is the same file as {twin.source.path}, which was refused")
            else:
                item.end("duplicate", twin.track_id, f"{path} is not added: it is the same file as {twin.source.path}")
        elif item.result is None and item.work is not None:
            try:
                fingerprinted = item.work.result()
                tags = read_tags(path)
            except UnreadableAudio as error:
                item.end("refused", None, str(error))
            else:
                self._compare(item, fingerprinted, describe(item.source, tags, item.content, fingerprinted.duration_s))
        if item.track_id is not None and (item.result is None or item.result.outcome != "duplicate"):
            self._by_id[item.track_id] = path

    def _compare(self, item: _Item, fingerprinted: Fingerprinted, track: Track) -> None:
        path, other, peaks_sha256 = item.source.path, self._by_id.get(track.track_id), sha256(fingerprinted.peaks)
        there = self._tracks.same_peaks(fingerprinted.peaks)
        same = self._by_peaks.get(peaks_sha256) or next(iter(there), None)
        if other and item.source.track_id:
            item.end("refused", None, f"{path} is not added: the track_id {track.track_id} was given to {other} already")
        elif other and (same == track.track_id or not self._relating):
            item.end("duplicate", track.track_id, f"{path} is not added: it has the ISRC of {other}")
        elif not other and same and same != track.track_id and item.source.track_id is None:
            item.end("duplicate", same, f"{path} is not added: the catalogue has the same audio as {same}")
        else:
            item.recording = Recording(track=track, peaks=fingerprinted.peaks, postings=fingerprinted.postings, content_sha256=item.content)
            item.there, item.namesake = track.track_id in there, other
            self._by_peaks.setdefault(peaks_sha256, track.track_id)

    def _write(self) -> list[Result]:
        recordings = [(item, item.recording) for item in self._batch if item.recording]
        if self._relating is None:
            for (item, recording), outcome in zip(recordings, self._tracks.add([recording for _, recording in recordings]) if recordings else (), strict=True):
                self._tell(item, recording, outcome)
        else:
            for item, recording in recordings:
                self._relate(item, recording, self._relating)
        for item, _ in recordings:
            item.recording = None  # its peaks are not needed any more, its twins only need the result
        results = [item.result for item in self._batch if item.result]
        self._batch = []
        self._written += len(recordings)
        if self._written >= _BATCH:
            self._tidy()
        return results

    def _tidy(self) -> None:
        """Pack and merge what was written: after many, or at the end, since each time all that is fresh is read."""
        if self._written:
            upkeep(self._pool)
        self._written = 0

    def _relate(self, item: _Item, recording: Recording, relating: Relating) -> None:
        """Write a recording, beside those that it shares something with; each by itself, so that the next one finds it."""
        path, track_id = item.source.path, recording.track.track_id
        if item.there:
            (outcome,) = self._tracks.add([recording])
            relating.relate([recording])
            self._tell(item, recording, outcome)
            return
        prepared = prepare(recording)

        def write(judged: Judged) -> tuple[Outcome, bool] | None:
            if item.namesake or judged.rejected:
                return None
            with transaction(self._pool) as connection:
                relating.first(connection, judged)
                (outcome,) = self._tracks.put(connection, [prepared])
                return outcome, outcome in ("added", "replaced") and relating.link(connection, judged)

        judged, written = relating.add(recording, write)
        if written:
            relating.settle(judged)
            self._tell(item, recording, written[0], judged, linked=written[1])
        elif item.namesake:
            unlike = (two_recordings(track_id.removeprefix("isrc:"), str(item.namesake), str(path)),) if judged.unlike else ()
            item.end("duplicate", track_id, f"{path} is not added: it has the ISRC of {item.namesake}", clashes=unlike)
        elif judged.duplicate:
            of = judged.duplicate.of
            # Who comes later in this run has that one's sound, and nobody's id.
            self._by_id.pop(track_id, None)
            self._by_peaks[sha256(recording.peaks)] = of.track_id
            item.end("duplicate", of.track_id, f"{path} is not added: {sounds.in_words(judged.duplicate)}", clashes=judged.clashes)

    @staticmethod
    def _tell(item: _Item, recording: Recording, outcome: Outcome, judged: Judged | None = None, *, linked: bool = False) -> None:
        path, track_id = item.source.path, recording.track.track_id
        clashes = judged.clashes if judged else ()
        if judged and judged.duplicate and linked:
            of = sounds.called(judged.duplicate.of)
            item.end("linked", track_id, f"{path} was added as {track_id}, an alias of {of}: {sounds.in_words(judged.duplicate)}", clashes=clashes)
        else:
            item.end(outcome, track_id, _SENTENCES[outcome].format(path=path, track_id=track_id), clashes=clashes)


_SENTENCES: Final[Mapping[Outcome, str]] = {
    "added": "{path} was added as {track_id}",
    "unchanged": "{path} is in the catalogue as {track_id}",
    "updated": "{path} is in the catalogue as {track_id}, whose description was brought up to date",
    "replaced": "{path} replaces what the catalogue had as {track_id}",
}
