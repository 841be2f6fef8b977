"""`earmark catalogue add|list|show|remove|export` and `earmark identify`."""

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from earmark import clip, ingest
from earmark.audio.file import length_s
from earmark.audio.remote import RemoteFile
from earmark.aws import Clients
from earmark.errors import BadSettings, EarmarkError
from earmark.hits.mail.alert import sure_in_words
from earmark.hits.text import as_cell, called, clock_time, shown, speed_change
from earmark.identification import Match
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.local import manifest as manifests
from earmark.local.desk import check_there, complain, opened, recordings_in
from earmark.local.manifest import place
from earmark.local.profiling import measure_added
from earmark.local.progress import Progress
from earmark.local.stock import refuse_to_remove
from earmark.model import Track
from earmark.reference import Source, fingerprint_file
from earmark.settings import Settings

_S3 = "s3://"


def add(paths: Sequence[Path], *, catalogue: str | None, manifest: Path | None, jobs: int | None, settings: Settings) -> int:
    """A sentence for each file that was not simply added, and a count; 1 if any was refused."""
    if not paths and manifest is None:
        raise BadSettings("there is nothing to add: name files or folders, or a --manifest that names files")
    sources = _sources(paths, manifests.read(manifest) if manifest else [])
    counts: dict[str, int] = {}
    results: list[ingest.Result] = []
    with opened(catalogue, settings) as pool, Progress("catalogue") as progress:
        for result in ingest.ingest(
            sources,
            pool=pool,
            jobs=jobs,
            shared_passages=settings.catalogue.shared_passages,
            duplicates=settings.catalogue.duplicates,
            progress=progress.advance,
        ):
            results.append(result)
            counts[result.outcome] = counts.get(result.outcome, 0) + 1
            told = [result.sentence] if result.outcome in ("refused", "duplicate", "linked") else []
            for sentence in [*told, *result.clashes]:
                print(f"earmark: {shown(sentence)}", file=sys.stderr)
        if settings.catalogue.profiles:
            measure_added(results, pool=pool, jobs=jobs, progress=progress.at)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no audio files there")
    return 1 if counts.get("refused") or not counts else 0


def _sources(paths: Sequence[Path], described: Sequence[Source]) -> list[Path | Source]:
    """What is added: what `paths` name, as it is described; without them, what is described."""
    if not paths:
        return list(described)
    for path in paths:
        check_there(path)
    by_place = {os.path.realpath(source.path): source for source in described} | {place(source.path): source for source in described}
    sources = [by_place.get(place(path)) or by_place.get(os.path.realpath(path)) or path for path in ingest.files(paths)]
    taken = {place(source.path) for source in sources if isinstance(source, Source)}
    left = [source for source in described if place(source.path) not in taken]
    missing = [source for source in left if not _exists(source.path)]  # each is refused, with its reason
    complain([f"{source.path} is described in the manifest and not added: name it, too, or no path at all" for source in left if source not in missing])
    return [*sources, *missing]


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def list_tracks(*, catalogue: str | None, as_json: bool, settings: Settings) -> int:
    with opened(catalogue, settings) as pool:
        for track in Tracks(pool=pool).all():
            print(json.dumps(asdict(track), ensure_ascii=False) if as_json else shown(f"{track.track_id}  {clock_time(track.duration_s)}  {_called(track)}"))
    return 0


def _called(track: Track) -> str:
    return called(track.artists, track.title, between=" – ")


def show_track(track_id: str, *, catalogue: str | None, settings: Settings) -> int:
    with opened(catalogue, settings) as pool:
        entry = Tracks(pool=pool).show(track_id)
    if entry is None:
        raise BadSettings(f"the catalogue has no recording {track_id}: `earmark catalogue list` shows those it has")
    print(json.dumps(asdict(entry), ensure_ascii=False, indent=2, default=str))
    return 0


def remove_track(track_id: str, *, catalogue: str | None, settings: Settings) -> int:
    with opened(catalogue, settings) as pool:
        refuse_to_remove(pool, track_id)
        tracks = Tracks(pool=pool)
        before = tracks.show(track_id)
        if not tracks.remove(track_id):
            raise BadSettings(f"the catalogue has no recording {track_id}: `earmark catalogue list` shows those it has")
        heir = _heir(tracks, before.aliases if before else ())
    print(shown(f"{track_id} was removed" + (f"; {heir}, an alias of it, is a recording of its own now" if heir else "")))
    return 0


def _heir(tracks: Tracks, aliases: Sequence[str]) -> str | None:
    """Which of the aliases of a recording that was removed has its place."""
    return next((alias for alias in aliases if (entry := tracks.show(alias)) is not None and entry.alias_of is None), None)


def export_tracks(*, catalogue: str | None, layout: str, settings: Settings) -> int:
    with opened(catalogue, settings) as pool:
        tracks: Iterable[Track] = list(Tracks(pool=pool).all())
    rows = [asdict(track) for track in tracks]
    if layout == "json":
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return 0
    writer = csv.DictWriter(sys.stdout, list(asdict(Track(track_id=""))))
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return 0


def _cell(value: Any) -> Any:
    """Of a manifest: no formula to a spreadsheet, and read as it was."""
    if isinstance(value, tuple):
        return as_cell(";".join(value))
    return as_cell(value) if isinstance(value, str) else value


# ------------------------------------------------------------------------------------------------ identify


def identify_files(files: Sequence[str], *, catalogue: str | None, as_json: bool, settings: Settings) -> int:
    """What is in each file, here or at s3://bucket/key; 1 if one of them could not be read. Raises BadSettings for what is no file."""
    for file in files:
        _check_file(file)
    failed, clients = False, Clients(settings.aws)
    with opened(catalogue, settings) as pool:
        index, tracks = recordings_in(pool), Tracks(pool=pool)
        for file in files:
            try:
                matches = _identify(file, index, clients, settings)
            except EarmarkError as error:
                print(f"earmark: {shown(str(error))}", file=sys.stderr)
                failed = True
                continue
            _tell(file, matches, tracks.get([match.track_id for match in matches]), as_json=as_json)
    return 1 if failed else 0


def _check_file(file: str) -> None:
    if file.startswith(_S3):
        bucket, _, key = file.removeprefix(_S3).partition("/")
        if not bucket or not key:
            raise BadSettings(f"{file} names no object: write s3://bucket/key")
        return
    check_there(Path(file))
    if Path(file).is_dir():
        raise BadSettings(f"{file} is a folder, and `earmark identify` takes files: `earmark catalogue add` is what takes folders")


def _identify(file: str, index: Index, clients: Clients, settings: Settings) -> list[Match]:
    """Half of the way is to read it, the other half to look up what it holds."""
    name = Path(file).name
    with Progress("identify") as progress, _readable(file, clients) as readable:
        whole_s = length_s(readable)
        heard = fingerprint_file(
            readable,
            least=False,
            longest_s=settings.check.length_s_max,
            heard=lambda seconds: progress.at(name, min(50, round(50 * seconds / whole_s)) if whole_s else 0, 100),
        )
        sound = clip.Clip(peaks=heard.peaks, duration_s=heard.duration_s)
        return clip.matches(sound, index, settings.matching.params(), progress=lambda done, of: progress.at(name, 50 + 50 * done // of, 100))


@contextmanager
def _readable(file: str, clients: Clients) -> Iterator[Path | RemoteFile]:
    if not file.startswith(_S3):
        yield Path(file)
        return
    bucket, _, key = file.removeprefix(_S3).partition("/")
    with RemoteFile(s3=clients.s3, bucket=bucket, key=key) as remote:
        yield remote


def _tell(path: str, matches: Sequence[Match], known: dict[str, Track], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"file": path, "matches": [clip.as_row(match, known.get(match.track_id)) for match in matches]}, ensure_ascii=False))
        return
    print(shown(path if matches else f"{path}: nothing that the catalogue knows"))
    for match in matches:
        name = _called(known.get(match.track_id, Track(track_id=match.track_id))) or match.track_id
        when = f"{clock_time(match.begin_s)}–{clock_time(match.end_s)}  {name}, from {clock_time(match.reference_begin_s)}"
        also = f"; also matching {', '.join(match.also_matching)}" if match.also_matching else ""
        print(shown(f"  {when}, speed {speed_change(match.speed)}, {match.matched_s:.0f} s matched; {sure_in_words(match.false_alarms_per_hour)}{also}"))
