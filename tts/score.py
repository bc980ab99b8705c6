"""A score: what is to be said, as the numbers that the synthesiser reads.

A note is a phone or a rest. A phone has a stress, and a mark where its word ends; a rest has the punctuation that asks for
it. Every score begins and ends with a rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.codec.phones import INDEX, PAUSE, SILENCE, Segment, viterbi
from mien.tts.text import Word

MARKS = ("", " ", *PAUSE.strip('"()“”'), "^")  # none, a word's end, punctuation as in `PAUSE`, the score's beginning
START = "^"
FRAME_RATE = 100  # Hz, of durations
HEARD_RATE = 50  # Hz, of a phone recogniser
LEAST_FIT = -1.6  # mean log odds of what is said along a recording: below it words and sound do not belong together
LEAST_REST = 3  # frames of 20 ms: a shorter silence between words is the closure of a stop


@dataclass(frozen=True)
class Score:
    """N notes. phones (N,): indices of `PHONES`. stress (N,): 1 primary, 2 secondary, 0 none. marks (N,): indices of
    `MARKS`. durations (N,): frames of 10 ms, where they are known. words (N,): which word a note is of, -1 a rest."""

    phones: np.ndarray
    stress: np.ndarray
    marks: np.ndarray
    durations: np.ndarray | None = None
    words: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.phones)


def score_of_segments(segments: Sequence[Segment], length_s: float) -> Score | None:
    """The score of speech whose phones' times are known, of length_s seconds; None where a phone is not one of ours."""
    if any(segment.phone is None for segment in segments) or not segments:
        return None
    notes = [(SILENCE, 0, START), *((INDEX[s.phone or "sil"], s.stress, s.mark) for s in segments)]
    ends = [max(segments[0].start_s, 0.0), *(s.end_s for s in segments)]
    if not segments[-1].pause:
        notes.append((SILENCE, 0, "."))
        ends.append(length_s)
    ends[-1] = max(length_s, ends[-1])
    times = np.maximum.accumulate(np.round(np.array(ends) * FRAME_RATE).astype(int).clip(0, round(length_s * FRAME_RATE)))
    durations = np.diff(times, prepend=0)
    return Score(*_numbers(notes), durations=durations) if (durations[1:] > 0).all() else None


def score_of_words(words: Sequence[Word]) -> Score:
    """The score of words that follow one another; durations are not known yet."""
    notes, owners = [(SILENCE, 0, START)], [-1]
    for number, word in enumerate(words):
        last = number + 1 == len(words)
        pause = word.pause or ("." if last else "," if word.rest_s else "")
        said = [(INDEX[phone], stress, "") for phone, stress in zip(word.phones, word.stress, strict=True)]
        if not pause:
            said[-1] = (*said[-1][:2], " ")
        notes += said + ([(SILENCE, 0, pause)] if pause else [])
        owners += [number] * len(said) + ([-1] if pause else [])
    return Score(*_numbers(notes), words=np.array(owners))


def score_of_recording(words: Sequence[Word], posteriors: np.ndarray) -> Score | None:
    """The score of words that are heard in a recording, or None where they do not fit it.

    posteriors: (T, 40) at 50 Hz, of the speech front. A reader may rest after any word, at both ends too.
    """
    notes, rests = [(SILENCE, 0, START)], [True]
    for number, word in enumerate(words):
        said = [(INDEX[phone], stress, "") for phone, stress in zip(word.phones, word.stress, strict=True)]
        pause = word.pause or ("." if number + 1 == len(words) else ",")
        notes += [*said[:-1], (*said[-1][:2], " "), (SILENCE, 0, pause)]
        rests += [False] * len(said) + [True]
    rest, states = np.array(rests), np.arange(len(notes))
    before = np.stack([states, states - 1, np.where(rest[states - 1], states - 2, states)], 1)
    cost = np.where(before < 0, np.inf, 0.0)
    cost[:, 2] = np.where(rest[states - 1] & (states >= 2), 0.0, np.inf)
    phones = np.array([note[0] for note in notes])
    odds = np.log(posteriors[:, phones] + 1e-8)
    with np.errstate(invalid="ignore"):
        path = viterbi(odds, before.clip(0), cost, states <= 1, states >= len(states) - 2)
    if path[0] > 1 or path[-1] < len(states) - 2 or odds[np.arange(len(path)), path].mean() < LEAST_FIT:
        return None
    lengths = np.bincount(path, minlength=len(states))
    for short in np.flatnonzero(rest & (lengths < LEAST_REST))[:-1].tolist():
        if 0 < short:
            lengths[short + 1] += lengths[short]
            lengths[short] = 0
    lengths[-1] = max(lengths[-1], 1)
    kept = [n for n in states.tolist() if n == 0 or lengths[n]]
    said = [notes[n] for n in kept]
    # A word's mark is on its rest, where there is one.
    said = [(*s[:2], "") if s[2] == " " and rest[after] else s for s, after in zip(said, [*kept[1:], 0], strict=True)]
    return Score(*_numbers(said), durations=FRAME_RATE // HEARD_RATE * lengths[kept])


def _numbers(notes: Sequence[tuple[int, int, str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    phones, stress, marks = zip(*notes, strict=True)
    known = [MARKS.index(mark) if mark in MARKS else MARKS.index(",") for mark in marks]
    return np.array(phones), np.array(stress), np.array(known)
