"""Trials of the whole: films are made, drawn, tracked again as any film would be, and judged beside controls.

`evaluate` makes the first frame of every held-out clip talk and sets the result beside the real footage, a still
picture and wrong audio. `write_report` judges one film. `emotion_sheet` shows every feeling at three strengths.
"""

import csv
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from mien.emotion import CATEGORIES
from mien.media import FRAME_RATE, Sound, load_sound, probe, read_frames, save_image, sheet
from mien.portrait.figures import FIGURES, Film, beside_real, figures, pooled, shut_odds
from mien.portrait.likeness import INSTALL, Likeness, can_identify
from mien.portrait.motion import REGIONS, Motion
from mien.portrait.sync import LEAST_FRAMES, load_expert
from mien.portrait.tracking import BLENDSHAPES, Face, Tracker, load_tracker
from mien.portrait.warp import Portrait

FILMS = {".mp4", ".mov", ".mkv", ".webm", ".avi"}
MAX_OFFSET, LEAST_CONFIDENCE = 2, 0.1  # clips further out of sync, or less sure, show nothing
TRACKED = 0.9  # share of frames with a face that a clip needs
STILLS = 8  # frames of a film that are compared with the source
SHEET = 12  # frames on a contact sheet
HEAD = 1.7  # side of a sheet's pictures, in sizes of the face
INTENSITIES = (0.33, 0.66, 1.0)

# What a talking portrait should reach, pooled over clips; the same figures of real footage are printed beside.
AIMS: dict[str, tuple[float, float]] = {
    "sync_ratio": (0.8, 1.5),
    "wrong_ratio": (0, 1 / 3),
    "sync_within_1": (0.95, 1),
    "audio_gain": (1.25, np.inf),
    "lips_r": (0.42, 1),
    "lips_spread": (0.9, 1.1),
    "jitter_face_ratio": (0, 1.2),
    "jitter_lips_ratio": (0, 1.2),
    "jitter_face_start_ratio": (0, 1.2),
    "jitter_lips_start_ratio": (0, 1.2),
    "head_within": (0.9, 1),
    "blinks_per_min": (10, 35),
    "blink_ms": (150, 350),
    "rest": (0.9, 1),
    "identity": (0.97, 1),
    "background": (0, 0),
}

# What a feeling must do more of the stronger it is, by tracked blendshapes ("…" stands for both sides).
MARKERS: dict[str, tuple[str, ...]] = {
    "happy": ("mouthSmile…",),
    "sad": ("browInnerUp",),
    "angry": ("browDown…",),
    "fearful": ("browInnerUp", "eyeWide…"),
    "disgusted": ("browDown…", "mouthUpperUp…"),
    "surprised": ("browInnerUp", "browOuterUp…", "eyeWide…"),
    "contempt": ("mouthSmileRight",),
}


class Show(Protocol):
    """A take of a portrait: `mien.Video`."""

    @property
    def animator(self) -> "Stage": ...
    @property
    def motion(self) -> Motion: ...
    @property
    def sound(self) -> Sound | None: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[np.ndarray]: ...
    def facts(self) -> dict[str, Any]: ...


class Stage(Protocol):
    """A prepared portrait: `mien.Animator`."""

    @property
    def portrait(self) -> Portrait: ...
    @property
    def face(self) -> Face: ...
    def speak_along(
        self, audio: Any, emotion: Any = None, *, intensity: float = 1.0, style: Any = None, seed: int = 0
    ) -> Show: ...


@dataclass(frozen=True)
class Clip:
    """A held-out film. offset: frames by which it is later than its sound."""

    path: Path
    speaker: str
    offset: int


def read_clips(folder: Path, split: str = "test") -> list[Clip]:
    """The synchronous films with sound of a split of a data folder; manifest.csv as `mien.training.prepare` tells.

    Where a manifest has the column lip_conf, clips without a value were not measured and are passed over.
    Raises FileNotFoundError without a manifest, ValueError if it names no such film.
    """
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise FileNotFoundError(f"{folder} has no manifest.csv with the columns file, speaker_id and split.")
    clips = []
    with manifest.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            offset, confidence = float(row.get("lip_offset") or 0), float(row.get("lip_conf", 1) or 0)
            synchronous = abs(offset) <= MAX_OFFSET and confidence >= LEAST_CONFIDENCE
            path = folder / row["file"]
            if row["split"] != split or row.get("has_audio", "yes") != "yes" or not synchronous:
                continue
            if path.suffix.lower() in FILMS and path.is_file() and _long_enough(path):
                clips.append(Clip(path, row["speaker_id"], int(offset)))
    if not clips:
        raise ValueError(f"{manifest} names no synchronous film with sound in split '{split}'.")
    return clips


def _long_enough(path: Path) -> bool:
    return probe(path).duration_s * FRAME_RATE >= LEAST_FRAMES + MAX_OFFSET


# -- watching ----------------------------------------------------------------------------------------------------------


def watch(
    frames: Iterable[np.ndarray],
    count: int,
    sound: Sound,
    tracker: Tracker,
    source: Likeness | None = None,
    portrait: Portrait | None = None,
) -> Film:
    """Track a film, and compare some of its frames with its source picture if there is one.

    frames: (H, W, 3) uint8 RGB at 25 fps, `count` of them. portrait: given for a made film, whose background is
    measured about the portrait's box.
    """
    chosen = set(np.linspace(0, count - 1, STILLS).round().astype(int).tolist())
    kept: dict[int, np.ndarray] = {}
    change = 0

    def seen() -> Iterator[np.ndarray]:
        nonlocal change
        for number, frame in enumerate(frames):
            if number in chosen:
                kept[number] = frame.copy()
            if portrait is not None:
                change = max(change, change_outside(frame, portrait))
            yield frame

    track = tracker.follow(seen())
    picture = {"tracked": float(track.tracked.mean())}
    if source is not None:
        rows = [source.compare(frame, track.landmarks[number]) for number, frame in kept.items()]
        picture |= {name: float(np.median([row[name] for row in rows])) for name in rows[0]}
    if portrait is not None:
        picture["background"] = float(change)
    return Film(track.landmarks, sound.mono(16000), load_expert().template.numpy(), picture)


def change_outside(frame: np.ndarray, portrait: Portrait) -> int:
    """Largest change of any pixel of a frame outside the portrait's box, 0 … 255."""
    x0, y0, x1, y1 = portrait.box
    image = portrait.image
    strips = [np.s_[:y0], np.s_[y1:], np.s_[y0:y1, :x0], np.s_[y0:y1, x1:]]
    return max((int(cv2.absdiff(frame[strip], image[strip]).max()) for strip in strips if frame[strip].size), default=0)


def still(face: Face, sound: Sound, frames: int) -> Film:
    """The control that does nothing: one tracked picture, held."""
    return Film(np.repeat(face.landmarks[None], frames, axis=0), sound.mono(16000), load_expert().template.numpy())


# -- the trial ---------------------------------------------------------------------------------------------------------


def evaluate(
    folders: Sequence[Path],
    prepare: Callable[[np.ndarray], Stage],
    *,
    split: str = "test",
    limit: int | None = None,
    longest_s: float = 20.0,
    tracker: Tracker | None = None,
    news: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Judge an animator on the held-out clips of data folders.

    prepare: picture (H, W, 3) to a portrait that can speak. limit: clips, evenly chosen; None takes all. longest_s:
    more of a clip is not looked at. news: gets a line a clip. Returns clips, pooled figures of real, made, still and
    wrong, aims and whether they are met, definitions, seconds.
    Raises as `read_clips`; ValueError if no clip can be used.
    """
    started = time.perf_counter()
    clips = [clip for folder in folders for clip in read_clips(folder, split)]
    if limit is not None and limit < len(clips):
        clips = [clips[i] for i in np.linspace(0, len(clips) - 1, limit).round().astype(int)]
    if not can_identify():
        news(f"identity is left out: it needs dlib, {INSTALL}")
    tracker = tracker or load_tracker("mediapipe")
    rows = []
    for number, clip in enumerate(clips):
        begun = time.perf_counter()
        other = next((c for c in clips[number + 1 :] + clips[:number] if c.speaker != clip.speaker), None)
        row = _try(clip, other, prepare, longest_s, tracker)
        if isinstance(row, str):
            news(f"{number + 1}/{len(clips)} {clip.path.name}: left out: {row}")
            continue
        rows.append({"file": clip.path.name, **row})
        news(f"{number + 1}/{len(clips)} {clip.path.name}: {_line(row)}, {time.perf_counter() - begun:.0f} s")
    if not rows:
        raise ValueError(f"None of the {len(clips)} clips of {', '.join(map(str, folders))} could be used.")
    sums = summary(rows)
    return {
        "clips": rows,
        "pooled": sums,
        "aims": {name: _aim(low, high, sums["made"].get(name)) for name, (low, high) in AIMS.items()},
        "definitions": {name: {"unit": unit, "definition": text} for name, (unit, text) in FIGURES.items()},
        "seconds": round(time.perf_counter() - started, 1),
    }


def _aim(low: float, high: float, value: float | None) -> dict[str, Any]:
    met = value is not None and low - 1e-9 <= value <= high + 1e-9
    return {"low": low, "high": high if np.isfinite(high) else None, "value": value, "met": met}


def _try(
    clip: Clip, other: Clip | None, prepare: Callable[[np.ndarray], Stage], longest_s: float, tracker: Tracker
) -> dict[str, Any] | str:
    """One clip beside its controls, or why it cannot be used."""
    expert, sound = load_expert(), _cut(load_sound(clip.path), longest_s)
    samples = sound.mono(16000)
    count = -(-len(samples) // 640)
    picture = next(iter(read_frames(clip.path)))
    if not tracker.detect(picture):  # such as one that is faded to black: what is drawn from it could not be judged
        return "the judge finds no face in its first frame"
    try:
        stage = prepare(picture)
        source = Likeness(picture, stage.face.landmarks)
        real = watch(islice(read_frames(clip.path), count), count, sound, tracker, source)
    except ValueError as error:  # no face in the first frame, or in any
        return str(error)
    if real.picture["tracked"] < TRACKED:
        return f"a face was found in only {real.picture['tracked']:.0%} of its frames"
    made = watch(stage.speak_along(sound), count, sound, tracker, source, stage.portrait)
    shut = shut_odds(samples)
    row: dict[str, Any] = {
        "offset_of_the_clip": clip.offset,
        "real": figures(real, expert, shut),
        "made": figures(made, expert, shut) | _beside(made, real, clip.offset),
        "still": figures(still(stage.face, sound, count), expert, shut),
    }
    if other is not None:
        strange = Sound(np.resize(load_sound(other.path).mono(16000), (len(samples), 1)), 16000)
        misled = watch(stage.speak_along(strange), count, strange, tracker)
        row["wrong"] = {
            "sync_confidence": expert.judge(made.landmarks, strange.samples[:, 0]).confidence,
            "sync_confidence_real": expert.judge(real.landmarks, strange.samples[:, 0]).confidence,
            **_beside(misled, real, clip.offset),
        }
        row["made"]["audio_gain"] = row["wrong"]["lips_error"] / row["made"]["lips_error"]
    return row


def _cut(sound: Sound, longest_s: float) -> Sound:
    return Sound(sound.samples[: round(longest_s * sound.sample_rate)], sound.sample_rate)


def _beside(made: Film, real: Film, offset: int) -> dict[str, float]:
    """Lips beside the real ones: a real film that is `offset` late shows in frame n + offset what n should."""
    frames = np.arange(len(made.opening))
    frames = frames[(frames + offset >= 0) & (frames + offset < len(real.opening))]
    return beside_real(made.opening[frames], real.opening[frames + offset])


def _line(row: dict[str, Any]) -> str:
    made, real = row["made"], row["real"]
    parts = [f"confidence {made.get('sync_confidence', 0):.2f} (real {real.get('sync_confidence', 0):.2f})"]
    parts += [f"offset {made.get('sync_offset')}", f"lips r {made['lips_r']:.2f}"]
    if "audio_gain" in made:
        parts.append(f"gain {made['audio_gain']:.2f}")
    return ", ".join(parts)


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Pooled figures of real, made, still and wrong; ratios between them stand with `made`."""
    sums = {kind: pooled([row[kind] for row in rows if kind in row]) for kind in ("real", "made", "still", "wrong")}
    real, made, wrong = sums["real"], sums["made"], sums["wrong"]
    if real.get("sync_confidence") and made.get("sync_confidence"):
        made["sync_ratio"] = made["sync_confidence"] / real["sync_confidence"]
    if "sync_confidence" in wrong:
        made["wrong_ratio"] = wrong["sync_confidence"] / made["sync_confidence"]
        strange = [row["wrong"]["sync_confidence_real"] for row in rows if "wrong" in row]
        real["wrong_ratio"] = float(np.median(strange)) / real["sync_confidence"]
        made["audio_gain"] = float(np.median([row["made"]["audio_gain"] for row in rows if "wrong" in row]))
    # A clip's own offset is known: real footage is judged against it.
    offsets = [abs(row["real"]["sync_offset"] - row["offset_of_the_clip"]) for row in rows]
    real["sync_within_1"] = float(np.mean(np.array(offsets) <= 1))
    for name in ("jitter_face", "jitter_lips", "jitter_face_start", "jitter_lips_start", "head_spread", "head_speed"):
        made[f"{name}_ratio"] = float(np.median([row["made"][name] / max(row["real"][name], 1e-6) for row in rows]))
    low, high = np.percentile([row["real"]["head_spread"] for row in rows], (5, 95))
    made["head_within"] = float(np.mean([low <= row["made"]["head_spread"] <= high for row in rows]))
    return sums


def table(result: dict[str, Any]) -> str:
    """What `evaluate` found, a line a figure."""
    lines = _lines(result["pooled"], result["aims"], tell=True)
    return "\n".join([*lines, f"{len(result['clips'])} clips, {result['seconds']:.0f} s"])


def side_by_side(results: dict[str, dict[str, Any]]) -> str:
    """What `evaluate` found for several makers, by name, on the same clips: a line a figure, real footage first."""
    first = next(iter(results.values()))
    columns = {"real": first["pooled"]["real"]} | {name: result["pooled"]["made"] for name, result in results.items()}
    clips = ", ".join(f"{len(result['clips'])} by {name}" for name, result in results.items())
    seconds = sum(result["seconds"] for result in results.values())
    return "\n".join([*_lines(columns, first["aims"]), f"clips: {clips}; {seconds:.0f} s"])


def _lines(columns: dict[str, dict[str, float]], aims: dict[str, Any], tell: bool = False) -> list[str]:
    """Figures by column as lines of a table, with their aims; tell: also whether they are met."""
    named = {name for column in columns.values() for name in column}
    lines = [f"{'':24}" + "".join(f"{column:>15}" for column in columns) + "   aim"]
    for name in (name for name in dict.fromkeys([*FIGURES, *AIMS, *sorted(named)]) if name in named):
        cells = (f"{column[name]:15.3f}" if name in column else f"{'':15}" for column in columns.values())
        line = f"{name:24}" + "".join(cells)
        if aim := aims.get(name):
            span = f"{aim['low']:g} …" if aim["high"] is None else f"{aim['low']:g} … {aim['high']:g}"
            line += f"   {span:16}" + (("met" if aim["met"] else "NOT MET") if tell else "")
        lines.append(line)
    return lines


# -- one film ----------------------------------------------------------------------------------------------------------


def report(show: Show, tracker: Tracker | None = None) -> tuple[dict[str, Any], np.ndarray]:
    """All that can be said of one film without the real one, and twelve of its frames on a contact sheet.

    The film is drawn again for it. Raises ValueError if no face can be tracked in it.
    """
    tracker = tracker or load_tracker("mediapipe")
    stage, count = show.animator, len(show)
    chosen = np.linspace(0, count - 1, min(SHEET, count)).round().astype(int).tolist()
    frames: list[np.ndarray] = []

    def drawn() -> Iterator[np.ndarray]:
        for number, frame in enumerate(show):
            if number in chosen:
                frames.append(close_up(frame, stage.face))
            yield frame

    sound = show.sound or Sound.silence(count / FRAME_RATE)
    source = Likeness(stage.portrait.image, stage.face.landmarks)
    film = watch(drawn(), count, sound, tracker, source, stage.portrait)
    shut = shut_odds(sound.mono(16000)) if show.sound else None
    own = figures(film, load_expert(), shut)
    found = own | pooled([own])
    units = {name: {"unit": FIGURES[name][0], "definition": FIGURES[name][1]} for name in found if name in FIGURES}
    labels = [f"{number / FRAME_RATE:.2f} s" for number in chosen]
    return {"film": show.facts(), "figures": found, "definitions": units}, sheet(frames, 4, 320, labels)


def close_up(frame: np.ndarray, face: Face) -> np.ndarray:
    """A square of a frame about where the picture's face was."""
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = face.box
    side = min(round(HEAD * face.size), height, width)
    left = int(np.clip(round((x0 + x1 - side) / 2), 0, width - side))
    top = int(np.clip(round((y0 + y1 - side) / 2 - 0.1 * side), 0, height - side))
    return frame[top : top + side, left : left + side].copy()


def write_report(show: Show, path: Path, tracker: Tracker | None = None) -> None:
    """Write `report` as JSON and, beside it, its contact sheet as PNG. path: what ends in .json; the sheet in .png."""
    path = Path(path)
    if path.suffix.lower() != ".json":
        raise ValueError(f"A report is written as .json (its contact sheet beside it as .png), not '{path.suffix}'.")
    found, page = report(show, tracker)
    save_image(path.with_suffix(".png"), page)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(found, indent=1))
    part.replace(path)


# -- feelings ----------------------------------------------------------------------------------------------------------


def emotion_sheet(
    stage: Stage, sound: Sound, tracker: Tracker | None = None, *, seed: int = 0, samples: int = 12, width: int = 192
) -> tuple[np.ndarray, dict[str, dict[str, list[float]]]]:
    """Every feeling at three strengths on one sheet, and what a tracker sees of them.

    All are the same voice with the same seed, one of its frames is shown. samples: frames of each film that are
    tracked, blinks left out. width: of one picture on the sheet. Returns the sheet, a column a feeling, stronger
    downwards; and by feeling and marker the mean blendshape at intensity 0 and at `INTENSITIES`.
    """
    tracker = tracker or load_tracker("mediapipe")
    calm = stage.speak_along(sound, "neutral", seed=seed)
    films = {"neutral": [calm] * len(INTENSITIES)}
    for name in CATEGORIES[1:]:
        films[name] = [stage.speak_along(sound, name, intensity=strength, seed=seed) for strength in INTENSITIES]
    lids = np.min([film.motion.values[:, REGIONS["lids"]].min(1) for row in films.values() for film in row], axis=0)
    awake = np.flatnonzero(lids >= np.percentile(lids, 60))
    looked_at = awake[np.linspace(0, len(awake) - 1, min(samples, len(awake))).round().astype(int)].tolist()
    shown = looked_at[len(looked_at) // 2]
    pictures, labels = [], []
    for place, strength in enumerate(INTENSITIES):
        pictures += [close_up(_draw(films[name][place], shown), stage.face) for name in CATEGORIES]
        labels += ["neutral", *(f"{name} {strength:g}" for name in CATEGORIES[1:])]
    base = _blendshapes(calm, looked_at, tracker)
    seen: dict[str, dict[str, list[float]]] = {}
    for name in CATEGORIES[1:]:
        rows = [base] + [_blendshapes(film, looked_at, tracker) for film in films[name]]
        seen[name] = {marker: [_marker(row, marker) for row in rows] for marker in MARKERS[name]}
    return sheet(pictures, len(CATEGORIES), width, labels), seen


def _draw(film: Show, number: int) -> np.ndarray:
    return film.animator.portrait.render(next(film.motion[number : number + 1].shapes()))


def _blendshapes(film: Show, numbers: list[int], tracker: Tracker) -> np.ndarray:
    """Mean blendshapes (52,) of some frames, tracked one by one."""
    found = [tracker.detect(_draw(film, number)) for number in numbers]
    if not any(found):
        raise ValueError("No face is found in the portrait once it moves: try another picture.")
    return np.mean([faces[0].blendshapes for faces in found if faces], axis=0)


def _marker(shapes: np.ndarray, name: str) -> float:
    sides = [name.replace("…", side) for side in ("Left", "Right")] if name.endswith("…") else [name]
    return float(np.mean([shapes[BLENDSHAPES.index(side)] for side in sides]))


def grows(values: list[float], slack: float = 0.005) -> bool:
    """Whether a row of blendshapes rises with every strength; slack: what a tracker's noise may take back."""
    steps = np.diff(values)
    return bool((steps > -slack).all() and values[-1] - values[0] > 4 * slack)
