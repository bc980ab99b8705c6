"""The figures by which a talking portrait is judged: pure functions of tracked landmarks and sound.

Every figure has a name, a unit and a definition in `FIGURES`; `figures` takes those of one film, `pooled` those of
many. Lengths are in inter-ocular distances (IOD), so faces of all sizes compare. Letters: T frames of 25 Hz, S samples
of 16 kHz.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from mien.portrait import geometry
from mien.portrait.motion import relative_pose
from mien.portrait.sync import LEAST_FRAMES, LIPS, SyncExpert

FPS, HOP = 25, 640
MET = 0.02  # IOD: lips less far apart than this count as closed,
BIAS = 0.03  # or less far above their own closest, if that is below this: trackers see closed lips a little open
PAUSE_S, PAUSE_DB = 0.4, 25.0  # a pause is this long and this much below the loud parts
SETTLE, WAKE = 3, 2  # frames at a pause's ends in which lips may still or already move
SHUT, OPEN = 0.55, 0.8  # of the usual lid opening: a blink goes below the one and lasts while below the other
NARROW = 0.1  # lid opening over eye width: narrower eyes show no countable blinks
LONGEST_BLINK_S = 0.7  # longer ones are eyes closed or cast down
SURE = 0.5  # odds of a p, b or m that count as one

FIGURES: dict[str, tuple[str, str]] = {
    "sync_confidence": ("correlation", "of lips and sound at the best offset, less the median over ±15 frames"),
    "sync_offset": ("frames", "offset of the best agreement, + if the film is later than its sound"),
    "sync_within_1": ("share", "clips whose offset is at most one frame"),
    "sync_ratio": ("ratio", "sync confidence over that of real footage"),
    "wrong_ratio": ("ratio", "sync confidence with another clip's sound over that with the right sound"),
    "lips_r": ("correlation", "opening of the lips against the real lips of the same clip"),
    "lips_spread": ("ratio", "standard deviation of the opening over the real lips'"),
    "lips_error": ("IOD", "rms difference of the opening to the real lips', means removed"),
    "audio_gain": ("ratio", "lips_error of a film made with another clip's sound over that with the right sound"),
    "jitter_face": ("1e-3 IOD", "rms third difference over frames of the face's firm points, in the picture"),
    "jitter_lips": ("1e-3 IOD", "rms third difference over frames of the lips, head held still"),
    "jitter_face_start": ("1e-3 IOD", "jitter_face of the first second"),
    "jitter_lips_start": ("1e-3 IOD", "jitter_lips of the first second"),
    "blinks_per_min": ("1/min", "lids below 0.55 of their usual opening, for less than 0.7 s"),
    "blink_ms": ("ms", "median time for which a blink's lids are below 0.8 of their usual opening"),
    "blink_interval_spread": ("ratio", "standard deviation of the times between blinks over their mean"),
    "rest": ("share", "frames of pauses over 0.4 s in which the lips are closed (first 120 and last 80 ms left out)"),
    "closures": ("share", "p, b, m that are heard and at which, within a frame, the lips meet"),
    "closures_chance": ("share", "the same for equally long spans anywhere in speech"),
    "head_spread": ("rad", "standard deviation of the head's rotation, all axes together"),
    "head_within": ("share", "films whose head_spread lies between the 5th and the 95th percentile of real footage"),
    "head_speed": ("rad/s", "rms angular speed of the head, over 0.16 s"),
    "identity": ("cosine", "dlib's face descriptor of frames against that of the source picture"),
    "sharpness_face": ("ratio", "rms gradient of the face over that of the source picture"),
    "sharpness_mouth": ("ratio", "rms gradient of the mouth over that of the source picture"),
    "background": ("0 … 255", "largest change of any pixel outside the portrait's box"),
    "tracked": ("share", "frames in which the tracker finds the face"),
}  # fmt: skip

MEDIANS = (
    "sync_confidence", "sync_offset", "lips_r", "lips_spread", "lips_error", "jitter_face", "jitter_lips",
    "jitter_face_start", "jitter_lips_start", "head_spread", "head_speed", "identity", "sharpness_face",
    "sharpness_mouth", "tracked",
)  # fmt: skip


@dataclass(frozen=True)
class Film:
    """A tracked film and its sound.

    landmarks: (T, 478, 3) pixels. samples: (S,) 16 kHz mono. template: (478, 3) canonical face. picture: figures that
    were measured on the pictures themselves (identity, sharpness, background), as they are.
    """

    landmarks: np.ndarray
    samples: np.ndarray
    template: np.ndarray
    picture: dict[str, float] = field(default_factory=dict)

    @cached_property
    def _canonical(self) -> tuple[np.ndarray, geometry.Pose]:
        return geometry.canonicalise(self.landmarks, self.template)

    @cached_property
    def opening(self) -> np.ndarray:
        """Opening of the lips, (T,) IOD."""
        return geometry.aperture(self._canonical[0])

    @cached_property
    def lids(self) -> np.ndarray:
        """Opening of the lids over the eye's width, mean of both eyes, (T,)."""
        return geometry.lid_openness(self._canonical[0]).mean(1)

    @cached_property
    def rotation(self) -> np.ndarray:
        """Rotation of the head relative to its median, (T, 3) radians."""
        return relative_pose(self._canonical[1])[:, :3]

    @property
    def lips(self) -> np.ndarray:
        """Points of the lips with the head held still, (T, 40, 2) IOD."""
        return self._canonical[0][:, LIPS, :2]

    @property
    def frame(self) -> np.ndarray:
        """The head's firm points as they move in the picture, (T, 19, 2) IOD."""
        return self.landmarks[:, geometry.STABLE, :2] / np.median(self._canonical[1].iod)

    @property
    def closed(self) -> np.ndarray:
        """Whether the lips are closed, (T,) bool: less than `MET` above what the tracker calls closed in this face."""
        return self.opening < MET + np.clip(np.percentile(self.opening, 5), 0, BIAS)


def figures(film: Film, expert: SyncExpert, shut: np.ndarray | None = None) -> dict[str, Any]:
    """All that one film shows by itself; lists and counts among them are for `pooled`.

    shut: (2 T,) odds at 50 Hz that a p, b or m is heard (see `shut_odds`); None leaves closures out.
    """
    blinks = find_blinks(film.lids)
    resting = np.concatenate(
        [film.closed[span] for span in pauses(film.samples, len(film.closed))] or [np.zeros(0, bool)]
    )
    out: dict[str, Any] = {
        "seconds": len(film.landmarks) / FPS,
        "jitter_face": jitter(film.frame),
        "jitter_lips": jitter(film.lips),
        "jitter_face_start": jitter(film.frame[:FPS]),
        "jitter_lips_start": jitter(film.lips[:FPS]),
        "blinks": None if blinks is None else [[round(at, 3), round(lasts, 3)] for at, lasts in blinks],
        "pause_frames": len(resting),
        "pause_frames_closed": int(resting.sum()),
        "head_spread": float(np.sqrt(film.rotation.var(0).sum())),
        "head_speed": head_speed(film.rotation),
        **film.picture,
    }
    if min(len(film.landmarks), len(film.samples) // HOP) >= LEAST_FRAMES:
        verdict = expert.judge(film.landmarks, film.samples)
        out |= {"sync_confidence": verdict.confidence, "sync_offset": verdict.offset}
    if shut is not None:
        out |= closures(film, shut)
    return out


def beside_real(opening: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Opening of the lips (T,) beside the real lips' (T,) of the same time."""
    error = (opening - opening.mean()) - (real - real.mean())
    moved = opening.std() > 1e-6 and real.std() > 1e-6
    return {
        "lips_r": float(np.corrcoef(opening, real)[0, 1]) if moved else 0.0,
        "lips_spread": float(opening.std() / max(real.std(), 1e-6)),
        "lips_error": float(np.sqrt((error**2).mean())),
    }


def jitter(points: np.ndarray) -> float:
    """Rms third difference of points (T, P, 2) over frames, in thousandths; 0 for fewer than four frames."""
    return float(1e3 * np.sqrt((np.diff(points, 3, axis=0) ** 2).sum(-1).mean())) if len(points) > 3 else 0.0


def head_speed(rotation: np.ndarray) -> float:
    """Rms angular speed, rad/s, of rotations (T, 3): over four frames, so that a tracker's noise is no speed."""
    turned = rotation[4:] - rotation[:-4]
    return float(np.sqrt((turned**2).sum(1).mean()) * FPS / 4) if len(turned) else 0.0


def find_blinks(lids: np.ndarray) -> list[tuple[float, float]] | None:
    """Blinks as (time of the deepest point, length) in seconds; None if the eyes are too narrow to tell.

    lids: (T,) opening over eye width.
    """
    usual = np.array([np.percentile(lids[max(0, i - 38) : i + 39], 75) for i in range(len(lids))])
    if np.median(usual) < NARROW:
        return None
    ratio = lids / np.maximum(usual, NARROW)
    found = []
    for span in _runs(ratio < OPEN):
        depth = ratio[span]
        if depth.min() >= SHUT:
            continue
        before = _crossing(ratio, span.start - 1, span.start)
        after = _crossing(ratio, span.stop, span.stop - 1)
        length = (span.stop - 1 - span.start) + before + after
        if length / FPS < LONGEST_BLINK_S:
            found.append(((span.start + int(depth.argmin())) / FPS, length / FPS))
    return found


def _crossing(ratio: np.ndarray, outside: int, inside: int) -> float:
    """Share of a frame by which a blink reaches beyond its outermost low frame, to where the lids cross OPEN."""
    if not 0 <= outside < len(ratio):
        return 0.5
    return float(np.clip((OPEN - ratio[inside]) / max(ratio[outside] - ratio[inside], 1e-6), 0, 1))


def pauses(samples: np.ndarray, frames: int) -> list[slice]:
    """Frames in which nobody speaks, by loudness alone (no recogniser that also leads the lips), ends cut off."""
    padded = np.pad(samples, (0, max(0, frames * HOP - len(samples))))[: frames * HOP]
    level = 10 * np.log10((padded.reshape(frames, HOP).astype(np.float64) ** 2).mean(1) + 1e-10)
    quiet = level < max(np.percentile(level, 95) - PAUSE_DB, -70)
    long = [span for span in _runs(quiet) if span.stop - span.start > PAUSE_S * FPS]
    return [slice(span.start + SETTLE * (span.start > 0), span.stop - WAKE * (span.stop < frames)) for span in long]


def shut_odds(samples: np.ndarray) -> np.ndarray:
    """Odds at 50 Hz that the sound is a p, b or m, by the speech front: 16 kHz mono (S,) to (2 T,)."""
    from mien.codec.front import load_front
    from mien.codec.phones import BILABIAL, PHONES

    odds = load_front().features(samples).posteriors_50hz
    return odds[:, [PHONES.index(phone) for phone in sorted(BILABIAL)]].sum(1)


def closures(film: Film, shut: np.ndarray) -> dict[str, float]:
    """Count of p, b and m that are surely heard, of those with closed lips, and the share that chance would give."""
    met = film.closed
    spans = [slice(max(0, run.start // 2 - 1), (run.stop - 1) // 2 + 2) for run in _runs(shut[: 2 * len(met)] > SURE)]
    if not spans:
        return {"closures_heard": 0, "closures_met": 0}
    speech = np.ones(len(met), bool)
    for span in pauses(film.samples, len(met)):
        speech[span] = False
    width = round(float(np.mean([span.stop - span.start for span in spans])))
    starts = np.flatnonzero(speech[: len(met) - width + 1])
    chance = np.mean([met[start : start + width].any() for start in starts]) if len(starts) else 0.0
    return {
        "closures_heard": len(spans),
        "closures_met": int(sum(met[span].any() for span in spans)),
        "closures_chance": float(chance),
    }


def pooled(films: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Many films' figures as one: medians over films, rates and shares over all their frames and events."""
    out: dict[str, float] = {}
    for name in MEDIANS:
        values = [film[name] for film in films if film.get(name) is not None]
        if values:
            out[name] = float(np.median(values))
    if offsets := [abs(film["sync_offset"]) for film in films if "sync_offset" in film]:
        out["sync_within_1"] = float(np.mean(np.array(offsets) <= 1))
    if "background" in (films[0] if films else {}):
        out["background"] = float(max(film["background"] for film in films))
    seen = [film for film in films if film.get("blinks") is not None]
    if seen:
        blinks = [blink for film in seen for blink in film["blinks"]]
        out["blinks_per_min"] = 60 * len(blinks) / sum(film["seconds"] for film in seen)
        if blinks:
            out["blink_ms"] = float(1000 * np.median([lasts for _, lasts in blinks]))
        gaps = np.concatenate([np.diff([at for at, _ in film["blinks"]]) for film in seen])
        if len(gaps) > 2:
            out["blink_interval_spread"] = float(gaps.std() / gaps.mean())
    if frames := sum(film.get("pause_frames", 0) for film in films):
        out["rest"] = sum(film["pause_frames_closed"] for film in films) / frames
    if heard := sum(film.get("closures_heard", 0) for film in films):
        out["closures"] = sum(film["closures_met"] for film in films if film.get("closures_heard")) / heard
        weighted = [film["closures_chance"] * film["closures_heard"] for film in films if film.get("closures_heard")]
        out["closures_chance"] = float(sum(weighted) / heard)
    return out


def _runs(flags: np.ndarray) -> list[slice]:
    """Where a row of flags (N,) holds without a break."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
