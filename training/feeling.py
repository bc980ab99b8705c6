"""Measure what feeling does to a voice, `python -m mien.training measure-feeling`.

Acted takes stand beside the same actor's neutral takes of the same sentence. `mien.tts.feeling` speaks with these changes.
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from mien.codec.vocoder import HOP, EnvelopeMeter
from mien.media.sound import load_sound
from mien.training.emotion import LABELS
from mien.training.speech import SAMPLE_RATE, find_pitch

CORPORA = ("ravdess", "emodb", "nemo")
MEASURES = ("level", "spread", "energy", "tilt", "pace", "pause")
TRUNCATED = {("emodb", "disgust"), ("emodb", "fear")}  # cut off: their pace and pauses say nothing
SPEECH_DB = -30.0  # below a take's loud frames; what is fainter is a pause
LOW_BANDS, HIGH_BANDS = slice(4, 24), slice(40, 72)  # of the envelope: about 0.2 to 1 kHz, 2.2 to 6.5 kHz


def measure(sound: np.ndarray, meter: EnvelopeMeter) -> dict[str, float] | None:
    """A take (S,) at 16 kHz in numbers; None where too little of it is voiced.

    level: median F0, semitones. spread: standard deviation of F0, semitones. energy: RMS of what is said, dB. tilt: high
    bands beside low ones, dB. pace: log of the seconds in which something is said. pause: share of the time between first
    and last sound in which nothing is.
    """
    sound = sound[: len(sound) // HOP * HOP]
    with torch.inference_mode():
        envelope = meter(torch.from_numpy(sound.astype(np.float32))[None])[0].numpy() * 3 * 10 / np.log(10)  # dB
    loudness = 10 * np.log10(np.square(sound).reshape(-1, HOP).mean(1) + 1e-10)
    speech = loudness > np.percentile(loudness, 95) + SPEECH_DB
    pitch = find_pitch(sound)[: len(speech)].astype(np.float32)
    voiced = (pitch > 0) & speech
    if voiced.sum() < 30:
        return None
    tone = 12 * np.log2(pitch[voiced])
    tone = tone[np.abs(tone - np.median(tone)) < 15]  # octave errors
    first, last = np.flatnonzero(speech)[[0, -1]]
    return {
        "level": float(np.median(tone)),
        "spread": float(tone.std()),
        "energy": float(10 * np.log10(np.mean(10 ** (loudness[speech] / 10)))),
        "tilt": float(envelope[voiced][:, HIGH_BANDS].mean() - envelope[voiced][:, LOW_BANDS].mean()),
        "pace": float(np.log(speech.sum() * HOP / SAMPLE_RATE)),
        "pause": float(1 - speech[first : last + 1].mean()),
    }


def compare(
    data: Path, progress: Callable[[float, float], None] = lambda done, total: None, split: str = "train"
) -> dict[str, dict[str, float]]:
    """What a feeling adds to the neutral takes of the same actor and sentence: medians over the takes of a corpus, then
    means over corpora, so that each counts once. By feeling and strength ("angry", "angry strong"); spread as the log of
    its factor, the rest as differences.

    data: a folder of acted speech with its manifest.csv.
    """
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["corpus"] in CORPORA and r["split"] == split and r["emotion"] in LABELS]
    meter, takes = EnvelopeMeter(), []
    for done, row in enumerate(rows, 1):
        found = measure(load_sound(data / row["file"]).mono(SAMPLE_RATE), meter)
        if found is not None:
            takes.append((row, found))
        progress(done, len(rows))
    neutral: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for row, found in takes:
        if row["emotion"] == "neutral":
            neutral[row["speaker_id"], row["text"]].append(found)
            neutral[row["speaker_id"], ""].append(found)
    changes: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row, found in takes:
        same = neutral.get((row["speaker_id"], row["text"]))
        beside = same or neutral.get((row["speaker_id"], ""))
        if row["emotion"] == "neutral" or not beside:
            continue
        name = row["emotion"] + (" strong" if row["intensity"] == "strong" else "")
        for measure_, before in _medians(beside).items():
            timed = measure_ in ("pace", "pause")
            if timed and (same is None or (row["corpus"], row["emotion"]) in TRUNCATED):
                continue
            after = found[measure_]
            change = float(np.log(after / before)) if measure_ == "spread" else after - before
            changes[name][measure_][row["corpus"]].append(change)
    return {
        name: {m: round(float(np.mean([median(x) for x in changes[name][m].values()])), 3) for m in MEASURES}
        for name in sorted(changes)
    }


def _medians(takes: Iterable[dict[str, float]]) -> dict[str, float]:
    takes = list(takes)
    return {name: median(take[name] for take in takes) for name in MEASURES}
