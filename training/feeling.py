"""Measure what feeling does to a voice, `python -m mien.training measure-feeling`.

Acted takes stand beside the same actor's neutral takes of the same sentence. `mien.tts.feeling` speaks with these changes.
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import numpy as np

from mien.media.sound import load_sound
from mien.training.emotion import LABELS
from mien.training.speech import SAMPLE_RATE, find_pitch
from mien.tts.feeling import MEASURES, measure

CORPORA = ("ravdess", "emodb", "nemo")
TRUNCATED = {("emodb", "disgust"), ("emodb", "fear")}  # cut off: their pace and pauses say nothing


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
    takes = []
    for done, row in enumerate(rows, 1):
        sound = load_sound(data / row["file"]).mono(SAMPLE_RATE)
        found = measure(sound, find_pitch(sound).astype(np.float32))
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
