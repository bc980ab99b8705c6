"""What must not fail, whatever the network made: the last, small step on motion.

A `Plan` is drawn from the sound and a seed alone: where lips rest, where they are sealed, blinks, gaze, accents. `enforce`
lays it on motion frame by frame, so it works on a window as on a whole film. Order: a steady head, start, accents, bounds,
rest, seal, blinks, gaze. Nothing here smooths the mouth.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mien.emotion import CATEGORIES
from mien.portrait import geometry
from mien.portrait.controls import BROW_UP, Controls
from mien.portrait.motion import CHANNELS, REGIONS, MotionSpace
from mien.portrait.speech import Heard, runs_of
from mien.portrait.tracking import BLENDSHAPES

Gaze = Literal["human", "camera"]
FRAME_S = 0.04

# Bounds, half ranges; poses are eased into them (tanh), so nothing stops dead. The warp looks right within these and
# within the turns that `Controls` allows.
SHIFT, LOG_SCALE = 0.25, 0.08  # IOD, log
GAZE = 0.28  # radians
APERTURE = 0.42  # IOD: wider mouths are shouts or tracking faults

# Blinks (Bentivoglio 1997: 17 a minute at rest, 26 in conversation; lids close in 60-80 ms, open in 150-220 ms).
BLINK_MEDIAN_S, BLINK_SPREAD, BLINK_LEAST_S = 2.6, 0.5, 0.9
BLINK_PROFILES = ((0.45, 0.0, 0.3, 0.68, 0.9), (0.5, 0.0, 0.0, 0.35, 0.7, 0.92), (0.4, 0.0, 0.25, 0.6, 0.85, 0.96))
BLINK_TEMPO = {"angry": 0.65, "fearful": 1.35, "surprised": 0.7, "sad": 0.9, "happy": 1.05}

# Gaze: fixations with saccades; glances away at phrase starts, back within a second (motion of real conversation).
GLANCE_RAD, GLANCE_S = 0.13, (0.35, 0.9)
HEAD_COMPENSATION = 0.7  # share of a head turn that the eyes take back to stay with the viewer

# Accents: what a voice stresses lifts the brows and nods the head, now and then and a little (a nod takes 0.17 s down and
# 0.31 s back; brows rise with it). Stress is loudness above the mean of a second and a half about it.
ACCENT_DB, ACCENT_GAP_S, ACCENT_SHARE = 3.0, 0.8, 0.7
NOD_S, NOD_RAD, BROW_LIFT = (0.17, 0.31), 0.03, 0.35

MIN_REST_S = 0.16
PRESS = 0.02  # IOD by which lips press on one another at p, b and m
START_S = 1.0  # a film starts in the picture's own pose and leaves it within this time
STEADY = 0.8  # frames, spread of the kernel that takes the tremor out of the head
STEADY_REACH = 2  # frames it looks ahead


@dataclass(frozen=True)
class Plan:
    """Per frame (T): rest and seal in [0, 1], blink (T, 2) factor on the lids, gaze (T, 2) radians, start (T,) and
    accent (T,) in [0, 1]."""

    rest: np.ndarray
    seal: np.ndarray
    blink: np.ndarray
    gaze: np.ndarray
    start: np.ndarray
    accent: np.ndarray

    def __getitem__(self, frames: slice) -> "Plan":
        return Plan(*(getattr(self, name)[frames] for name in ("rest", "seal", "blink", "gaze", "start", "accent")))


def draw_plan(heard: Heard, emotion: np.ndarray, seed: int, gaze: Gaze = "human", blink: float = 1.0) -> Plan:
    """Plan a film. emotion (T, 8) weights. blink: gain on the blinks' rate. Same seed, same plan."""
    rng = np.random.default_rng([seed, 17])
    frames = len(heard)
    return Plan(
        rest=resting(heard.silent),
        seal=np.where(heard.silent > 0.5, 0, heard.closed).astype(np.float32),
        blink=blinks(frames, heard.silent, emotion, rng, blink),
        gaze=fixations(frames, heard.silent, rng) if gaze == "human" else np.zeros((frames, 2), np.float32),
        start=_minimum_jerk(1 - np.arange(frames) * FRAME_S / START_S),
        accent=accents(heard.level_db, heard.silent, rng),
    )


def enforce(
    values: np.ndarray,
    plan: Plan,
    space: MotionSpace,
    first_pose: np.ndarray,
    controls: Controls = Controls(),  # noqa: B008 - frozen
) -> np.ndarray:
    """Lay a plan on motion: (T, 36) natural units and as many frames of plan to (T, 36). first_pose: (6,) of frame 0.

    What the controls change comes first, so the guarantees hold for it, too; their gain on head and blinks is not seen to
    here.
    """
    out = controls.face(values, space)
    out[:, :6] -= plan.start[:, None] * first_pose
    out[:, REGIONS["rotation"]] += controls.turn
    out[:, 0] += NOD_RAD * controls.head * plan.accent
    out[:, REGIONS["brows"]] += np.outer(plan.accent, _brow_lift(space))
    out = bounded(out, space, controls)
    out = sealed(sealed(out, plan.rest, space), plan.seal, space, PRESS)
    out[:, REGIONS["lids"]] *= plan.blink
    out[:, REGIONS["gaze"]] = gaze_on(out, plan.gaze + controls.look)
    return out


def steered(values: np.ndarray, controls: Controls, space: MotionSpace) -> np.ndarray:
    """Motion of a film or a take (T, 36) as the controls say; its blinks stay its own. Turns bend at 0.8 of their limit."""
    out = controls.face(values, space)
    out[:, :6] *= controls.head
    turn, limit = out[:, REGIONS["rotation"]] + controls.turn, np.maximum(controls.turn_limit, 1e-6)
    over = np.maximum(np.abs(turn) / limit - 0.8, 0)
    out[:, REGIONS["rotation"]] = np.sign(turn) * np.minimum(np.abs(turn), limit * (0.8 + 0.2 * np.tanh(over / 0.2)))
    out[:, REGIONS["gaze"]] += controls.look
    return out


def _minimum_jerk(phase: np.ndarray) -> np.ndarray:
    """0 … 1 along phase 0 … 1 with no velocity or acceleration at either end (Flash & Hogan 1985)."""
    phase = np.clip(phase, 0, 1)
    return (phase**3 * (10 - 15 * phase + 6 * phase**2)).astype(np.float32)


def steadied(windows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Take the tremor out of the head, and of nothing else: windows (n, 36) to windows, two frames behind.

    A sampled pose trembles where a neck has mass. The kernel runs across the joins of windows.
    """
    taps = np.arange(-STEADY_REACH, STEADY_REACH + 1)
    kernel = np.exp(-(taps**2) / (2 * STEADY**2))
    kernel = (kernel / kernel.sum()).astype(np.float32)

    def smooth(rows: np.ndarray) -> np.ndarray:
        """Rows with STEADY_REACH more at both ends to rows without them."""
        out = rows[STEADY_REACH : len(rows) - STEADY_REACH].copy()
        out[:, :6] = sum(w * rows[k : k + len(out), :6] for k, w in enumerate(kernel))
        return out

    held: np.ndarray | None = None
    for window in windows:
        if held is None:
            held = np.repeat(window[:1], STEADY_REACH, 0)
        rows = np.concatenate([held, window])
        if len(rows) > 2 * STEADY_REACH:
            yield smooth(rows)
        held = rows[-2 * STEADY_REACH :]
    if held is not None:
        yield smooth(np.concatenate([held, np.repeat(held[-1:], STEADY_REACH, 0)]))


def bounded(values: np.ndarray, space: MotionSpace, controls: Controls = Controls()) -> np.ndarray:  # noqa: B008 - frozen
    """Pose eased into what a picture can show, lids and lips within what a face can do."""
    out = values.copy()
    limits = np.r_[controls.turn_limit, SHIFT, SHIFT, LOG_SCALE]
    out[:, :6] = limits * np.tanh(values[:, :6] / np.maximum(limits, 1e-6))
    out[:, REGIONS["lids"]] = np.clip(values[:, REGIONS["lids"]], 0, 1.4)
    opening = space.aperture(out)
    excess = np.maximum(opening - APERTURE, 0) + np.minimum(opening + 0.01, 0)
    direction = space.aperture_direction
    return out - excess[:, None] * direction / (direction @ direction)


def resting(silent: np.ndarray) -> np.ndarray:
    """How much the lips rest: 1 inside pauses, easing in over 120 ms and out over 80 ms before the voice returns."""
    rest = np.zeros(len(silent), np.float32)
    for a, b in runs_of(silent > 0.5):
        if (b - a) * FRAME_S < MIN_REST_S:
            continue
        t = np.arange(a, b)
        ease_in = np.ones(b - a) if a == 0 else np.clip((t - a + 1) / 3, 0, 1)
        ease_out = np.ones(b - a) if b == len(silent) else np.clip((b - t) / 2.5, 0, 1)
        rest[a:b] = np.minimum(ease_in, ease_out)
    return rest


def sealed(values: np.ndarray, amount: np.ndarray, space: MotionSpace, press: float = 0.0) -> np.ndarray:
    """Close the lips by an amount (T,) in [0, 1] with the most natural (least-norm) change of the mouth.

    All nine gaps between the inner lips are closed at once; what smiles goes on smiling. press: IOD by which lips go on
    after they have met, as soft ones do: without it a dark crease between them is seen as open.
    """
    mouth = REGIONS["mouth"]
    gaps = geometry.lip_gap(space.bases[mouth.start - 10 : mouth.stop - 10]).T  # (9, mouth channels)
    gap = geometry.lip_gap(space.expression(values))  # (T, 9)
    spread = space.std[mouth] ** 2  # least norm in units of what real mouths do
    gram = (gaps * spread) @ gaps.T
    step = np.linalg.solve(gram + 1e-4 * np.trace(gram) / 9 * np.eye(9), np.maximum(gap + press, 0).T).T @ (gaps * spread)
    out = values.copy()
    out[:, mouth] -= amount[:, None] * step
    return out


def blinks(frames: int, silent: np.ndarray, emotion: np.ndarray, rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """Blinks as events: factor on the openness of both lids (frames, 2). gain: on their rate; none at 0."""
    factor = np.ones((frames, 2), np.float32)
    if gain == 0:
        return factor
    tempo = np.full(frames, gain)
    for name, value in BLINK_TEMPO.items():
        tempo *= value ** emotion[:, CATEGORIES.index(name)]
    t = rng.uniform(0.6, 2.5)
    while (frame := round(t / FRAME_S)) < frames:
        profile = np.array(BLINK_PROFILES[rng.integers(len(BLINK_PROFILES))])
        if rng.random() < 0.12:
            profile = 0.35 + 0.65 * profile  # a partial one
        span = slice(frame, min(frame + len(profile), frames))
        factor[span] = profile[: span.stop - span.start, None]
        pause = BLINK_MEDIAN_S * rng.lognormal(0, BLINK_SPREAD) / tempo[frame]
        t += max(BLINK_LEAST_S, pause * (1.1 if silent[frame] > 0.5 else 1.0))
    return factor


def fixations(frames: int, silent: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where the eyes rest: (frames, 2) radians about the viewer; steps within two frames, then still."""
    gaze = np.zeros((frames, 2), np.float32)
    at, away_until, t = np.zeros(2), 0.0, 0.0
    was_silent = True
    for i in range(frames):
        now = i * FRAME_S
        phrase_start, was_silent = was_silent and silent[i] < 0.5, silent[i] >= 0.5
        if phrase_start and rng.random() < 0.4 and i > 12:
            angle = rng.uniform(0, 2 * np.pi)
            at = GLANCE_RAD * np.array([np.cos(angle), 0.5 * np.sin(angle)]) * rng.uniform(0.6, 1.2)
            away_until = now + rng.uniform(*GLANCE_S)
            t = away_until
        elif now >= t:
            at = rng.normal(0, 0.018, 2)  # small shifts between the viewer's eyes and mouth
            t = now + rng.lognormal(np.log(0.9), 0.5)
        gaze[i] = at
    step = gaze.copy()  # a saccade takes 20-50 ms: half of it falls into the frame before
    step[:-1] += 0.5 * np.where(np.abs(np.diff(gaze, axis=0)).max(1, keepdims=True) > 0.03, np.diff(gaze, axis=0), 0)
    return step


def accents(level_db: np.ndarray, silent: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Loudness (T,) to what the brows and the head make of the stressed ones: (T,) in [0, 1], smooth, mostly 0."""
    frames = len(level_db)
    out = np.zeros(frames, np.float32)
    spoken = (silent < 0.5).astype(float)
    about = np.ones(round(1.5 / FRAME_S))
    mean = np.convolve(level_db * spoken, about)[len(about) // 2 :][:frames]
    mean /= np.maximum(np.convolve(spoken, about)[len(about) // 2 :][:frames], 1)
    stress = np.where(spoken > 0, np.convolve(level_db, np.ones(3) / 3, "same") - mean, 0)
    down, back = (round(seconds / FRAME_S) for seconds in NOD_S)
    nod = np.concatenate([_minimum_jerk(np.arange(1, down + 1) / down), _minimum_jerk(1 - np.arange(1, back + 1) / back)])
    last = -frames
    for i in range(1, frames - 1):
        peak = stress[i] >= ACCENT_DB and stress[i - 1] < stress[i] >= stress[i + 1]
        if not peak or (i - last) * FRAME_S < ACCENT_GAP_S:
            continue
        last = i
        if rng.random() < ACCENT_SHARE:
            first = max(i - down, 0)
            span = slice(first, min(first + len(nod), frames))
            out[span] = np.maximum(out[span], rng.uniform(0.5, 1) * nod[: span.stop - span.start])
    return out


def _brow_lift(space: MotionSpace) -> np.ndarray:
    """What an accent adds to the brows' channels."""
    shapes = np.array([[BROW_LIFT * BROW_UP.get(name, 0.0) for name in BLENDSHAPES]], np.float32)
    return space.from_blendshapes(shapes)[0, REGIONS["brows"]]


def gaze_on(values: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Eyes that stay with the viewer when the head turns: (T, 2) radians within bounds."""
    yaw, pitch = values[:, 1], values[:, 0]
    held = gaze + HEAD_COMPENSATION * np.stack([yaw, -pitch], 1)
    return (GAZE * np.tanh(held / GAZE)).astype(np.float32)


assert CHANNELS == REGIONS["mouth"].stop
