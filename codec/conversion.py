"""One speaker's words in another's voice: what is said (S) is kept, who says it (G) is exchanged."""

from dataclasses import replace

import numpy as np

from mien.codec.front import FRAME_LENGTH, check_sound
from mien.codec.model import CHUNK, Codec
from mien.codec.vocoder import SAMPLE_RATE

CONSENT = "Only with the consent of the person whose voice this is, and say that it is made."
SHORTEST_S = 1.0  # of a voice: less tells nobody's


def convert(codec: Codec, samples: np.ndarray, voice: np.ndarray, tiers: int = 0) -> np.ndarray:
    """(S,) samples at 16 kHz to (S,) samples that say the same as `voice` would.

    voice: (S',) samples at 16 kHz of whoever is to be heard, some seconds of speech. tiers: enhancement tiers that are
    kept; they carry the first speaker's manner and voice, too. Raises ValueError when either is no sound or the voice is
    shorter than a second.
    """
    digits = voice_of(codec, voice)
    tokens = codec.encode(samples, tiers)
    return codec.decode(replace(tokens, voice=digits[None], voice_starts=np.zeros(1, int)))


def voice_of(codec: Codec, samples: np.ndarray) -> np.ndarray:
    """(S,) samples at 16 kHz of one speaker to (24,) digits of G, as all of them together tell it."""
    samples = check_sound(samples)
    if len(samples) < SHORTEST_S * SAMPLE_RATE:
        raise ValueError(f"the voice lasts {len(samples) / SAMPLE_RATE:.2f} s: give some seconds of speech.")
    samples = np.pad(samples, (0, -len(samples) % FRAME_LENGTH + codec.config.look_ahead * FRAME_LENGTH))
    state, size = codec.start_encoding(), CHUNK * FRAME_LENGTH
    codes, state = codec.encode_step(samples[:size], state)
    for begin in range(size, len(samples), size):
        codes, state = codec.encode_step(samples[begin : begin + size], state)
    return codes.voice[-1]
