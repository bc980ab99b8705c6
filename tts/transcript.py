"""A transcript laid over its recording: when each sound is said, where the words are known."""

import numpy as np

from mien.codec.front import load_front
from mien.codec.phones import PHONES, Segment
from mien.codec.vocoder import SAMPLE_RATE
from mien.tts.score import FRAME_RATE, score_of_recording
from mien.tts.text import read_text

LONGEST_S = 120.0  # the search holds every sound of the text at every moment of the recording


def heard_phones(text: str, samples: np.ndarray) -> tuple[Segment, ...] | None:
    """The phones of an English text, rests as "sil", with their times in a recording, 16 kHz mono (S,).

    None where the text does not fit what is heard, cannot be read, or the recording is longer than two minutes.
    """
    if len(samples) > LONGEST_S * SAMPLE_RATE:
        return None
    try:
        words = read_text(text)
    except ValueError:
        return None
    score = score_of_recording(words, load_front().features(samples).posteriors_50hz)
    if score is None or score.durations is None:
        return None
    ends = np.cumsum(score.durations) / FRAME_RATE
    spans = zip(score.phones.tolist(), np.r_[0.0, ends[:-1]].tolist(), ends.tolist(), strict=True)
    return tuple(Segment(PHONES[phone], a, b) for phone, a, b in spans if b > a)
