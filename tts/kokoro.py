"""Kokoro-82M as an engine (Hexgrad, Apache-2.0, https://huggingface.co/hexgrad/Kokoro-82M), for whoever has its files.

It is no part of mien: its ONNX file and voices are those of `kokoro-onnx` (https://github.com/thewh1teagle/kokoro-onnx),
`kokoro-v1.0.onnx` (or its int8 or fp16 form) and `voices-v1.0.bin`, in one folder. The words are read by our own text
front end, so marks and emphasis hold, and the graph tells how long every symbol lasts, so words and lips have their times.
It also teaches our synthesiser: `mien.training.teacher`.
"""

import importlib.util
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.codec.model import Codec
from mien.codec.phones import PAUSE, Segment, from_kokoro
from mien.codec.tokens import Tokens
from mien.codec.vocoder import SAMPLE_RATE
from mien.layers.extras import install
from mien.media.sound import Sound
from mien.tts.engines import NATURAL, Utterance, kept_codec
from mien.tts.feeling import TILT_HZ, Change
from mien.tts.text import Word
from mien.tts.voices import named

FILES = "MIEN_KOKORO"  # the variable that names the folder
MODEL_RATE, FRAME_LENGTH = 24_000, 600  # Hz, samples: 25 ms
DURATIONS = "/encoder/Clip_output_0"  # the value inside the graph that holds the frames of every input symbol
STYLE_WIDTH = 256
MOST_SYMBOLS = 510
CODEC_FRAME = MODEL_RATE // 25  # samples
GET_IT = (
    "Kokoro needs its files: put kokoro-v1.0.onnx and voices-v1.0.bin of github.com/thewh1teagle/kokoro-onnx in a folder "
    f"and name it: --engine FOLDER, or the variable {FILES}."
)

# fmt: off
# The model's input alphabet: symbols in a row have numbers in a row, from the first one's.
ALPHABET = {number + k: symbol for number, row in {
    1: ";:,.!?", 9: '—…"()“” \u0303ʣʥʦʨᵝꭧAI', 31: "O", 33: "Q", 35: "ST", 39: "W", 41: "Yᵊabcdef",
    50: "hijklmnopqrstuvwxyzɑɐɒæ", 75: "βɔɕç", 80: "ɖðʤə", 85: "ɚɛɜ", 90: "ɟ", 92: "ɡ", 99: "ɥ", 101: "ɨɪʝ",
    110: "ɯɰŋɳɲɴø", 118: "ɸθœ", 123: "ɹ", 125: "ɾɻ", 128: "ʁɽʂʃʈʧ", 135: "ʊʋ", 138: "ʌɣɤ", 142: "χʎ", 147: "ʒʔ",
    156: "ˈˌː", 162: "ʰ", 164: "ʲ", 169: "↓", 171: "→↗↘", 177: "ᵻ"}.items() for k, symbol in enumerate(row)}
NUMBER = {symbol: number for number, symbol in ALPHABET.items()}
FROM_ARPABET = {
    "AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "W", "AY": "I", "B": "b", "CH": "ʧ", "D": "d", "DH": "ð",
    "EH": "ɛ", "ER": "ɜɹ", "EY": "A", "F": "f", "G": "ɡ", "HH": "h", "IH": "ɪ", "IY": "i", "JH": "ʤ", "K": "k",
    "L": "l", "M": "m", "N": "n", "NG": "ŋ", "OW": "O", "OY": "Y", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t",
    "TH": "θ", "UH": "ʊ", "UW": "u", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ", "AH0": "ə", "ER0": "əɹ"}
# fmt: on


@dataclass(frozen=True)
class Reading:
    """Symbols as they were read: samples (S,) at 24 kHz, and (symbol, start, end) in frames of 25 ms."""

    samples: np.ndarray
    phones: list[tuple[str, int, int]]


class Reader:
    """The network on one thread, with the durations of its symbols brought out. model: its ONNX file."""

    def __init__(self, model: bytes):
        for name in ("onnx", "onnxruntime"):
            if importlib.util.find_spec(name) is None:
                raise ModuleNotFoundError(f"Kokoro needs {name}: {install('kokoro')}.")
        import onnx
        import onnxruntime

        graph = onnx.load_from_string(model)
        if not any(DURATIONS in node.output for node in graph.graph.node):
            raise ValueError("This kokoro tells no times of its sounds: give kokoro-v1.0.onnx, or its int8 or fp16 form.")
        graph.graph.output.append(onnx.helper.make_tensor_value_info(DURATIONS, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self._session = onnxruntime.InferenceSession(graph.SerializeToString(), options)

    def read(self, spelled: str, voice: np.ndarray, speed: float = 1.0) -> Reading:
        """Read symbols with a voice (510, 256), a style for every length of text; speed 1 is the voice's own."""
        symbols = [symbol for symbol in spelled if symbol in NUMBER]
        style = voice[min(len(symbols), len(voice) - 1)]
        tokens = np.array([[0, *(NUMBER[symbol] for symbol in symbols), 0]])  # 0 stands at both ends
        inputs = {"tokens": tokens, "style": style[None], "speed": np.array([speed], np.float32)}
        samples, durations = self._session.run(None, inputs)
        edges = np.concatenate([[0], np.cumsum(np.asarray(durations).reshape(-1).astype(int))])
        assert len(edges) == len(symbols) + 3, "the durations do not match the input"
        phones = [(symbol, int(a), int(b)) for symbol, a, b in zip(symbols, edges[1:-2], edges[2:-1], strict=True)]
        return Reading(np.asarray(samples).reshape(-1), phones)


def read_voices(folder: Path) -> dict[str, np.ndarray]:
    """Styles (510, 256) by the voices' names: of a voices-*.bin, or of a .bin for every voice; empty without any."""
    packed = sorted(folder.glob("voices*.bin")) + sorted(folder.glob("voices*.npz"))
    if packed:
        with np.load(packed[-1]) as styles:
            return {name: styles[name].reshape(-1, STYLE_WIDTH) for name in sorted(styles)}
    return {file.stem: np.fromfile(file, np.float32).reshape(-1, STYLE_WIDTH) for file in sorted(folder.glob("*.bin"))}


class Kokoro:
    """Kokoro and its voices, by our names and its own; see `engines.Engine`. files: folder of its files."""

    rate = MODEL_RATE

    def __init__(self, files: str | Path | None = None):
        folder = files or os.environ.get(FILES)
        if folder is None:
            raise FileNotFoundError(GET_IT)
        models = sorted(Path(folder).glob("*.onnx"))
        styles = read_voices(Path(folder))
        if not models or not styles:
            raise FileNotFoundError(f"{folder} holds no {'voices' if models else 'model'}. {GET_IT}")
        self._reader = Reader(models[0].read_bytes())
        self.voices: dict[str, np.ndarray] = named(styles)

    @property
    def codec(self) -> Codec:
        """The codec that its sound is made tokens by."""
        return kept_codec()

    def listen(self, samples: np.ndarray) -> np.ndarray:
        """Raises ValueError: this engine takes no voice from a recording."""
        raise ValueError("kokoro cannot take a voice from a recording: name one of its voices, or use --engine mien.")

    def say(
        self, words: Sequence[Word], voice: np.ndarray, change: Change = NATURAL, speed: float = 1.0, seed: int = 0
    ) -> Utterance:
        """See `engines.Engine.say`; it says the same whatever the seed. Feeling other than pace needs pyworld."""
        symbols = [(symbol, n) for n, word in enumerate(words) for symbol in _spelled(word, n + 1 == len(words))]
        if len(symbols) > MOST_SYMBOLS:
            raise ValueError(f"'{words[0].text} …' is too long to be said in one breath: break it with a comma.")
        reading = self._reader.read("".join(s for s, _ in symbols), voice, speed * math.exp(-change.pace))
        sound, edges = _rested(reading, [words[n].rest_s for _, n in symbols], [s for s, _ in symbols])
        sound = np.pad(sound, (0, -len(sound) % CODEC_FRAME))
        length_s = len(sound) / MODEL_RATE
        timed = [(symbol, a, b) for (symbol, _), (a, b) in zip(symbols, edges, strict=True)]
        phones = _whole(from_kokoro(timed), length_s)
        middles = [(p.start_s + p.end_s) / 2 for p in phones]
        spans: dict[int, tuple[float, float]] = {}
        ended = set()
        for (symbol, n), (a, b) in zip(symbols, edges, strict=True):
            if symbol in PAUSE:
                ended.add(n)
            elif n not in ended:  # a space after a sound lengthens it, one after punctuation the pause
                spans[n] = (spans.get(n, (a, b))[0], b)
        owners = [
            next((n for n, (a, b) in spans.items() if p.phone != "sil" and a <= t < b), -1)
            for p, t in zip(phones, middles, strict=True)
        ]
        return Utterance(tuple(phones), tuple(owners), self._piece(sound, change))

    def _piece(self, sound: np.ndarray, change: Change) -> Iterator[tuple[np.ndarray, Tokens]]:
        sound = felt(sound, change)
        yield sound, self.codec.encode(Sound(sound[:, None], MODEL_RATE).mono(SAMPLE_RATE))


def _spelled(word: Word, last: bool) -> str:
    """A word in the model's alphabet, with what follows it."""
    out = ""
    for phone, stress in zip(word.phones, word.stress, strict=True):
        weak = FROM_ARPABET.get(f"{phone}0") if not stress else None
        out += ("", "ˈ", "ˌ")[stress] + (weak or FROM_ARPABET[phone])
    pause = word.pause or ("." if last else "," if word.rest_s else "")
    return out + pause + ("" if last else " ")


def _rested(
    reading: Reading, rests_s: Sequence[float], symbols: Sequence[str]
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """The sound with the silences that the text asks for set into its pauses, and start and end of every symbol, s."""
    parts, edges, done, shift = [], [], 0, 0.0
    seconds = FRAME_LENGTH / MODEL_RATE
    for (symbol, a, b), rest_s in zip(reading.phones, rests_s, strict=True):
        asked = rest_s if symbol in PAUSE else 0.0
        edges.append((a * seconds + shift, b * seconds + shift + asked))
        if asked:
            middle = FRAME_LENGTH * (a + b) // 2
            parts += [reading.samples[done:middle], np.zeros(round(asked * MODEL_RATE), np.float32)]
            done, shift = middle, shift + asked
    return np.concatenate([*parts, reading.samples[done:]]).astype(np.float32), edges


def _whole(segments: Sequence[Segment], length_s: float) -> list[Segment]:
    """Segments that begin at 0, end at length_s and leave no gap; what is no phone of ours is a rest."""
    starts = [0.0, *(s.start_s for s in segments), segments[-1].end_s]
    names = ["sil", *(s.phone or "sil" for s in segments), "sil"]
    ends = [*starts[1:], length_s]
    return [Segment(name, a, b) for name, a, b in zip(names, starts, ends, strict=True) if b > a]


def felt(sound: np.ndarray, change: Change) -> np.ndarray:
    """Speech (S,) at 24 kHz as a feeling would have it, but for its pace: pitch, loudness and brightness, by WORLD (Morise
    2016). Raises ModuleNotFoundError without pyworld."""
    if not (change.level or change.spread or change.energy or change.tilt):
        return sound
    try:
        with warnings.catch_warnings(action="ignore"):  # it asks for a part of setuptools that is to go
            import pyworld
    except ImportError as error:
        raise ModuleNotFoundError(f"A feeling in kokoro's voice needs pyworld: {install('kokoro')}.") from error
    world: Any = pyworld  # compiled: a checker of types sees nothing in it
    wave = sound.astype(np.float64)
    pitch, times = world.harvest(wave, MODEL_RATE)
    power, noise = world.cheaptrick(wave, pitch, times, MODEL_RATE), world.d4c(wave, pitch, times, MODEL_RATE)
    voiced = pitch > 0
    if voiced.any():
        height = np.log(pitch[voiced])
        mean = height.mean()
        pitch[voiced] = np.exp(mean + change.level * math.log(2) / 12 + (height - mean) * math.exp(change.spread))
    hertz = np.linspace(0, MODEL_RATE / 2, power.shape[1]).clip(1)
    low, high = np.log(TILT_HZ)
    ramp = ((np.log(hertz) - low) / (high - low)).clip(0, 1) - 0.5
    out = world.synthesize(pitch, power * 10 ** ((change.energy + change.tilt * ramp) / 10), noise, MODEL_RATE)
    return np.pad(out, (0, max(0, len(sound) - len(out))))[: len(sound)].astype(np.float32).clip(-1, 1)
