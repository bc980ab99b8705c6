"""From folders of film to compact shards: every film tracked, every clip a line of `clips.jsonl`.

A data folder holds manifest.csv; the columns read are
    file         path of a film from the folder (25 fps is best; others are resampled), or of pictures in a .tar
    speaker_id   who is seen; style is learned from other clips of the same person
    split        train, val or test
    has_audio    yes or no
    emotion      one of the categories of `mien.emotion` or a word it knows; may be empty
    intensity    1 … 3, normal or strong; may be empty
    note         "... twin of FILE" leaves a second copy of a film out
    lip_offset   frames by which the film is later than its sound, and lip_conf how sure that is; may be empty
All but file, speaker_id and split may be missing. Films already tracked are skipped, so a stopped run goes on.
"""

import csv
import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from mien.emotion import CATEGORIES, Emotion
from mien.media.film import read_frames
from mien.media.image import load_image
from mien.portrait.evaluation import FILMS, LEAST_CONFIDENCE, MAX_OFFSET
from mien.portrait.tracking import Track, load_tracker

INTENSITY = {"1": 0.5, "2": 0.8, "3": 1.1, "normal": 0.8, "strong": 1.1, "": 0.8}
STILLS_EACH = 300  # pictures tracked per tar: enough for rare expressions


@dataclass(frozen=True)
class Clip:
    """One film. film: its path; track: its shard's path from the shards' folder; offset in frames; emotion (8,) weights."""

    film: str
    track: str
    speaker: str
    split: str
    has_audio: bool
    offset: int = 0
    emotion: list[float] = field(default_factory=lambda: [0.0] * len(CATEGORIES))
    labelled: bool = False


def read_manifest(folder: Path) -> list[Clip]:
    """The films of a data folder; none if it holds only tars of pictures.

    Raises FileNotFoundError or ValueError if the manifest is missing or lacks a column.
    """
    path = folder / "manifest.csv"
    if not path.is_file() and any(folder.glob("*.tar")):
        return []
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} has no manifest.csv: see `python -m mien.training prepare --help` for its form."
        )
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = {"file", "speaker_id", "split"} - set(rows[0] if rows else {})
    if missing:
        raise ValueError(f"{path} lacks the column(s) {', '.join(sorted(missing))}.")
    films = [row for row in rows if Path(row["file"]).suffix.lower() in FILMS]
    return [_clip(folder, row) for row in films if " twin of " not in row.get("note", "")]


def _clip(folder: Path, row: dict[str, str]) -> Clip:
    offset, confidence = row.get("lip_offset") or "", row.get("lip_conf") or ""
    # Films that are out of sync lend their motion, not their sound.
    synchronous = not offset or (abs(int(float(offset))) <= MAX_OFFSET and float(confidence or 1) >= LEAST_CONFIDENCE)
    labelled, weights = bool(row.get("emotion")), [0.0] * len(CATEGORIES)
    if labelled:
        intensity = INTENSITY.get((row.get("intensity") or "").strip(), 0.8)
        weights = list(Emotion.read(row["emotion"], intensity).weights[0])
    return Clip(
        film=str(folder / row["file"]),
        track=f"{folder.name}/{row['file']}.track.npz",
        speaker=row["speaker_id"],
        split=row["split"],
        has_audio=row.get("has_audio", "yes") == "yes" and synchronous,
        offset=int(float(offset)) if offset and synchronous else 0,
        emotion=weights,
        labelled=labelled,
    )


def prepare(folders: list[Path], out: Path, workers: int = 2) -> Iterator[str]:
    """Track every film (and tar of pictures) of the data folders into `out`; yields a line of news for each.

    Raises as `read_manifest`. A film in which no face is found is reported and left out.
    """
    clips = [clip for folder in folders for clip in read_manifest(folder)]
    tars = [tar for folder in folders for tar in sorted(folder.glob("*.tar")) if not tar.name.startswith("none")]
    out.mkdir(parents=True, exist_ok=True)
    jobs = [(clip.film, out / clip.track) for clip in clips]
    jobs += [(str(tar), out / "stills" / f"{tar.name}.track.npz") for tar in tars]
    todo = [job for job in jobs if not job[1].is_file()]
    yield f"{len(jobs)} films and tars, {len(jobs) - len(todo)} done before"
    with ProcessPoolExecutor(workers) as pool:
        futures = {pool.submit(_track, film, track): film for film, track in todo}
        for done, future in enumerate(as_completed(futures), 1):
            yield f"{done}/{len(todo)} {Path(futures[future]).name}: {future.result()}"
    with (out / "clips.jsonl").open("w", encoding="utf-8") as file:
        for clip in clips:
            if (out / clip.track).is_file():
                file.write(json.dumps(asdict(clip)) + "\n")


def _track(film: str, track: Path) -> str:
    track.parent.mkdir(parents=True, exist_ok=True)
    try:
        result = _stills(Path(film)) if film.endswith(".tar") else load_tracker("mediapipe").follow(read_frames(film))
    except ValueError as error:
        return f"left out: {error}"
    result.save(track)
    return f"{len(result)} frames, {result.tracked.mean():.0%} tracked"


def _stills(tar: Path) -> Track:
    """Pictures of a tar, one face each, as a track whose frames are different people."""
    with tarfile.open(tar) as archive:
        members = [member for member in archive.getmembers() if member.isfile()][
            :: max(1, len(archive.getmembers()) // STILLS_EACH)
        ]
        pictures = (load_image(archive.extractfile(member).read()) for member in members)  # pyright: ignore
        faces = [found[0] for found in load_tracker("mediapipe").detect_each(pictures) if found]  # pyright: ignore
    if not faces:
        raise ValueError(f"No picture in {tar.name} shows a face.")
    columns = (np.stack([getattr(face, name) for face in faces]) for name in ("landmarks", "blendshapes", "matrix"))
    return Track(*columns, tracked=np.ones(len(faces), bool), size=(0, 0))


def read_clips(shards: Path) -> list[Clip]:
    """The clips that `prepare` wrote. Raises FileNotFoundError with what to run if there are none."""
    path = shards / "clips.jsonl"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there: run `python -m mien.training prepare --data DIR --out {shards}` first."
        )
    return [Clip(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
