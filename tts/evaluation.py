"""Trials of speech from text: held-out sentences are read and judged beside recordings of them, everything in one run.

`evaluate` has four parts: sentences (ours, other engines, the recordings, the codec's resynthesis of them), named voices,
readers (the voices of people, and of blends, that nothing was trained on) and feelings. `table` and `plot` show.
"""

import ctypes
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from mien.codec.evaluation import PLOTS, Clip, balanced, read_clips
from mien.codec.metrics import RATE, TOOLS, Judge, Recording, Verdict, bootstrap, summary, word_errors
from mien.layers.extras import install
from mien.media import Sound, load_sound
from mien.media.files import written_beside
from mien.tts.feeling import FEELINGS, measure
from mien.tts.speech import Narrator, Speech, joined
from mien.tts.voices import DEFAULT, VOICES

OURS, RECORDING = "mien", "recording"
SPELLED = re.compile(r"\b[B-HJ-Z]\b")  # a letter that is spelled: a listener writes SOS for S O S
FIVE = ("happy", "sad", "angry", "fearful", "surprised")
INTENSITIES = (0.33, 0.66, 1.0)
MOST_VOICES = 12  # recordings of a speaker that tell what he sounds like
SHORTEST_S = 3.2  # of a reader's recording whose voice is taken
LEAVE_OUT = {"pesq", "stoi"}  # they compare sound with sound, which two readings of a text do not allow

# Beside those of the codec. Unit, definition; all of speech against the recording of the same sentence, where there is one.
FIGURES: dict[str, tuple[str, str]] = {
    "length": ("ratio", "seconds in which something is said, over the recording's"),
    "level": ("semitones", "median F0 above the recording's"),
    "spread": ("ratio", "standard deviation of F0 over the recording's"),
    "rtf": ("s/s", "time to speak over the length of the sound, on one thread"),
    "first_s": ("s", "time to the first piece of sound"),
}
COLUMNS = {
    "wer": "WER %", "wer_2": "WER 2 %", "cer": "CER %", "dnsmos": "DNSMOS", "speaker": "speaker", "length": "length",
    "level": "level st", "spread": "spread", "rtf": "RTF", "first_s": "first s",
}  # fmt: skip
PERCENT = {"wer", "wer_2", "cer"}

Row = dict[str, float]
Progress = Callable[[float, float], None]


# -- what is read ------------------------------------------------------------------------------------------------------


def read_sentences(folder: Path, split: str = "test", speaker: str = "", limit: int | None = None) -> list[Clip]:
    """English clips of a split whose text no other split has, each text once, those of `speaker` first; texts with spelled
    letters are passed over. Raises as `codec.evaluation.read_clips`, ValueError when none is left."""
    taken = {clip.text for clip in read_clips(folder, None) if clip.split not in (split, "")}
    found: dict[str, Clip] = {}
    for clip in sorted(read_clips(folder, split), key=lambda clip: clip.speaker != speaker):
        fits = clip.text and clip.text not in taken and not SPELLED.search(clip.text)
        if fits and clip.language.partition("-")[0] in ("", "en"):
            found.setdefault(clip.text, clip)
    if not found:
        raise ValueError(f"{folder} holds no English sentence of split '{split}' that no other split has.")
    return list(found.values())[:limit]


def read_readers(
    folder: Path, split: str = "test", corpora: Sequence[str] = (), limit: int | None = None, seed: int = 0
) -> list[Clip]:
    """A clip of every speaker that no other split has, long enough to take the voice from."""
    known = {clip.speaker for clip in read_clips(folder, None) if clip.split not in (split, "")}
    clips = read_clips(folder, split, corpora, shortest_s=SHORTEST_S)
    unknown = [clip for clip in clips if clip.speaker not in known and clip.text and not SPELLED.search(clip.text)]
    return balanced(list({clip.speaker: clip for clip in unknown}.values()), limit or len(unknown), seed)


# -- who speaks --------------------------------------------------------------------------------------------------------


class Espeak:
    """espeak-ng (GPL-3, no part of mien), through the library that the extra `espeak` brings. Raises ModuleNotFoundError
    without it."""

    def __init__(self):
        try:
            import espeakng_loader
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"espeak-ng is missing: {install('espeak')}.") from error
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        synchronous, options = 2, 0
        data = espeakng_loader.get_data_path().encode()
        self.rate: int = self._library.espeak_Initialize(synchronous, 0, data, options)
        self._library.espeak_SetVoiceByName(b"en-us")
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._heard: list[np.ndarray] = []
        self._callback = kind(self._hear)  # kept, as the library holds no reference
        self._library.espeak_SetSynthCallback(self._callback)

    def _hear(self, samples: Any, count: int, events: Any) -> int:
        if samples and count:
            self._heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def read(self, text: str) -> np.ndarray:
        """A text as (S,) float32 samples at 16 kHz."""
        self._heard.clear()
        data, utf8 = text.encode(), 1
        self._library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, utf8, None, None)
        samples = np.concatenate(self._heard).astype(np.float32) / 32768
        return Sound(samples[:, None], self.rate).mono(RATE)


def speak(narrator: Narrator, text: str, voice: Any, emotion: Any = None, intensity: float = 1.0) -> tuple[np.ndarray, Row]:
    """Samples (S,) at 16 kHz of a text, and how long it took, whole and to its first piece."""
    begun, parts, first = time.perf_counter(), [], 0.0
    for part in narrator.stream(text, voice, emotion, intensity=intensity):
        first = first or time.perf_counter() - begun
        parts.append(part)
    spent, speech = time.perf_counter() - begun, joined(parts)
    return speech.sound.mono(RATE), {"spent_s": spent, "duration_s": speech.duration_s, "first_s": first}


# -- the trial ---------------------------------------------------------------------------------------------------------


class Trial:
    """Verdicts of many takes. judge: of everything; ears: further Whispers, which count words alone."""

    def __init__(self, judge: Judge, ears: Sequence[Judge] = (), seed: int = 0):
        self.judge, self.ears, self.seed = judge, ears, seed
        self.verdicts: dict[str, list[Verdict]] = defaultdict(list)

    def hear(
        self,
        name: str,
        samples: np.ndarray,
        text: str,
        *,
        voice: np.ndarray | None = None,
        beside: Row | None = None,
        more: Row | None = None,
    ) -> Row | None:
        """Judge a take of a text under a name. voice: (256,) of whom it should sound like. beside: what `measure` says of
        another take of the text. more: further figures. Returns what `measure` says of this one."""
        heard = self.judge.hear(samples)
        verdict = self.judge.alone(heard, text)
        row = dict(more or {}) | verdict.figures
        for number, ear in enumerate(self.ears, 2):
            errors = word_errors(ear.hear(samples).transcript, text)
            row |= {f"word_errors_{number}": errors["word_errors"], f"words_{number}": errors["words"]}
        if voice is not None and "speaker" in self.judge.tools:
            row["speaker"] = likeness(heard, voice)
        found = measure(samples, heard.f0) if "f0" in self.judge.tools else None
        if beside and found:
            row |= {
                "length": float(np.exp(found["pace"] - beside["pace"])),
                "level": found["level"] - beside["level"],
                "spread": found["spread"] / beside["spread"],
            }
        self.verdicts[name].append(Verdict(row, verdict.failed))
        return found

    def figures(self) -> dict[str, dict[str, Any]]:
        """By name the figures: mean and median with their 95 % intervals, and how many takes counted."""
        return {name: self._figures(verdicts) for name, verdicts in self.verdicts.items()}

    def _figures(self, verdicts: Sequence[Verdict]) -> dict[str, Any]:
        found = summary(verdicts, self.seed)
        ratios = {"rtf": ("spent_s", "duration_s")}
        ratios |= {f"wer_{n}": (f"word_errors_{n}", f"words_{n}") for n, _ in enumerate(self.ears, 2)}
        for name in (*FIGURES, *ratios):
            top, bottom = ratios.get(name, (name, None))
            rows = [verdict.figures for verdict in verdicts if top in verdict.figures]
            if rows:
                weights = np.array([row[bottom] for row in rows]) if bottom else np.ones(len(rows))
                found[name] = bootstrap(np.array([row[top] for row in rows]), weights, self.seed) | {"n": len(rows)}
        return found


def likeness(heard: Recording, voice: np.ndarray) -> float:
    """Cosine of the voice in a recording and another, (256,)."""
    return float(heard.voice @ voice / np.linalg.norm(voice))


def evaluate(
    narrator: Narrator,
    clips: Sequence[Clip],
    judge: Judge,
    *,
    voice: str = DEFAULT,
    ears: Sequence[Judge] = (),
    others: Mapping[str, Narrator | Espeak] = MappingProxyType({}),
    readers: Mapping[str, Sequence[Clip]] = MappingProxyType({}),
    per_voice: int = 0,
    per_feeling: int = 0,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Read and judge.

    clips: sentences with their recordings, see `read_sentences`. voice: the main one. others: further engines by name.
    readers: clips by the name of their group, see `read_readers`; each lends its voice to the next one's text. per_voice,
    per_feeling: how many of the sentences every named voice and every feeling reads.
    Returns the parts `sentences`, `voices` and `readers`, figures by name as `Trial.figures` gives them; `feelings`, see
    `judge_feelings`; notes, definitions, seconds.
    """
    begun = time.perf_counter()
    names = [entry.name for entry in VOICES if entry.name in narrator.voices and per_voice]
    steps = len(clips) + len(names) + sum(map(len, readers.values())) + (len(FIVE) if per_feeling else 0)
    done = (progress(n, steps) for n in count(1))
    recorded, teacher = Recorded(clips, judge), learned_from(voice)
    main, named, lent = (Trial(judge, ears, seed) for _ in range(3))
    for clip in clips:
        samples = recorded.sound(clip)
        beside = main.hear(RECORDING, samples, clip.text, voice=recorded.voice(clip.speaker, clip))
        tokens = narrator.codec.encode(samples)
        own, asked = recorded.voice(clip.speaker, clip), recorded.voice(teacher, clip)
        for kbps, tiers in (("1.0", None), ("0.27", 0)):
            coded = narrator.codec.decode(tokens if tiers is None else tokens.with_tiers(tiers))
            main.hear(f"codec {kbps}", coded, clip.text, voice=own, beside=beside)
        fair = beside if clip.speaker == teacher else None  # another voice has another pitch and pace
        for name, other in {OURS: narrator, **others}.items():
            if isinstance(other, Espeak):
                main.hear(name, other.read(clip.text), clip.text, beside=fair)
            else:
                said, cost = speak(other, clip.text, voice)
                main.hear(name, said, clip.text, voice=asked, beside=fair, more=cost)
        next(done)
    for name in names:
        for clip in clips[:per_voice]:
            said, cost = speak(narrator, clip.text, name)
            named.hear(name, said, clip.text, voice=recorded.voice(learned_from(name), clip), more=cost)
        next(done)
    for group, people in readers.items():
        for clip, following in zip(people, [*people[1:], *people[:1]], strict=True):
            samples, whose, halves = load_sound(clip.path).mono(RATE), None, {}
            if "speaker" in judge.tools:
                first, second = (judge.hear(half) for half in np.array_split(samples, 2))
                whose, halves = judge.hear(samples).voice, {"speaker": likeness(first, second.voice)}
            lent.hear(f"{group}: themselves", samples, clip.text, more=halves)
            said, cost = speak(narrator, following.text, (samples, RATE))
            lent.hear(f"{group}: {OURS}", said, following.text, voice=whose, more=cost)
            next(done)
    return {
        "voice": voice,
        "sentences": main.figures(),
        "voices": named.figures(),
        "readers": lent.figures(),
        "feelings": judge_feelings(narrator, [clip.text for clip in clips[:per_feeling]], judge, voice, lambda: next(done)),
        "count": len(clips),
        "notes": list(judge.notes),
        "definitions": FIGURES,
        "seconds": round(time.perf_counter() - begun, 1),
    }


class Recorded:
    """The recordings of clips, and whose voices they are."""

    def __init__(self, clips: Sequence[Clip], judge: Judge):
        self.clips, self.judge = clips, judge
        self._voices: dict[Path, np.ndarray] = {}

    def sound(self, clip: Clip) -> np.ndarray:
        """(S,) at 16 kHz."""
        return load_sound(clip.path).mono(RATE)

    def voice(self, speaker: str, without: Clip) -> np.ndarray | None:
        """The mean (256,) of a speaker's recordings but for one clip's; None where there are none, or no judge."""
        if "speaker" not in self.judge.tools:
            return None
        others = [c for c in self.clips if c.speaker == speaker and c is not without][:MOST_VOICES]
        for clip in others:
            if clip.path not in self._voices:
                self._voices[clip.path] = self.judge.hear(self.sound(clip)).voice
        return np.mean([self._voices[clip.path] for clip in others], 0) if others else None


def learned_from(voice: str) -> str:
    """The name in the recordings of a named voice: the teacher's, where it is learned from one alone."""
    parts = {entry.name: list(entry.learned_from) for entry in VOICES}.get(voice, [voice])
    return parts[0] if len(parts) == 1 else voice


def judge_feelings(
    narrator: Narrator, texts: Sequence[str], judge: Judge, voice: str = DEFAULT, tick: Callable[[], Any] = lambda: None
) -> dict[str, Any]:
    """Read texts with every feeling of FIVE at every strength, and see how they are heard.

    The ear is `codec.emotion`, which learned from actors and never heard the synthesiser; it chooses among FIVE. Returns
    `told`: share told right by strength; `heard`: by feeling how often each was heard at full strength; `course`: by feeling
    what `measure` says at strength 0 and each of INTENSITIES, means over the texts; `monotone`: by feeling whether range and
    energy of it go one way with strength, and that of actors. Nothing without texts.
    """
    if not texts:
        return {}
    right, heard = dict.fromkeys(INTENSITIES, 0), {name: dict.fromkeys(FIVE, 0) for name in FIVE}
    course: dict[str, list[Row]] = {}
    plain = _means([_measured(speak(narrator, text, voice)[0], judge) for text in texts])
    for name in FIVE:
        course[name] = [plain]
        for strength in INTENSITIES:
            takes = [speak(narrator, text, voice, name, strength)[0] for text in texts]
            course[name].append(_means([_measured(take, judge) for take in takes]))
            for take in takes:
                odds = narrator.codec.emotion(take).odds
                found = max(FIVE, key=lambda feeling: odds[feeling])
                right[strength] += found == name
                if strength == INTENSITIES[-1]:
                    heard[name][found] += 1
        tick()
    n = len(FIVE) * len(texts)
    return {
        "told": {f"{strength:g}": hits / n for strength, hits in right.items()},
        "heard": heard,
        "course": course,
        "monotone": {name: _monotone(rows, name) for name, rows in course.items()},
    }


def _measured(samples: np.ndarray, judge: Judge) -> Row:
    return measure(samples, judge.hear(samples).f0) or {}


def _means(rows: Sequence[Row]) -> Row:
    rows = [row for row in rows if row]
    return {name: round(float(np.mean([row[name] for row in rows])), 3) for name in (rows[0] if rows else {})}


def _monotone(rows: Sequence[Row], feeling: str) -> dict[str, bool]:
    wanted = {"spread": FEELINGS[feeling].spread, "energy": FEELINGS[feeling].energy}
    courses = {name: [row.get(name, np.nan) for row in rows] for name in wanted}  # none where nothing is voiced
    return {name: bool((np.diff(courses[name]) * np.sign(way) > 0).all()) for name, way in wanted.items()}


# -- showing -----------------------------------------------------------------------------------------------------------


def table(result: dict[str, Any]) -> str:
    """What `evaluate` found, a line a system."""
    lines = []
    for part in ("sentences", "voices", "readers"):
        rows = result[part]
        columns = [name for name in COLUMNS if any(name in figures for figures in rows.values())]
        if rows:
            lines.append(f"{part:24}" + "".join(f"{COLUMNS[name]:>10}" for name in columns))
        for system, figures in rows.items():
            lines.append(f"{system:24}" + "".join(_cell(figures.get(name), name) for name in columns))
    if feelings := result["feelings"]:
        lines.append("feelings told right: " + ", ".join(f"{x:.0%} at {s}" for s, x in feelings["told"].items()))
        for name, heard in feelings["heard"].items():
            ways = " ".join(f"{what} {'steady' if ok else 'NOT STEADY'}" for what, ok in feelings["monotone"][name].items())
            lines.append(f"{name:12}" + "".join(f"{other} {n:<4}" for other, n in heard.items()) + ways)
    return "\n".join([*lines, *result["notes"], f"{result['count']} sentences, judged in {result['seconds']:.0f} s"])


def _cell(figure: dict[str, Any] | None, name: str) -> str:
    if figure is None or figure["mean"] is None:
        return " " * 10
    return f"{100 * figure['mean']:10.1f}" if name in PERCENT else f"{figure['mean']:10.3f}"


def plot(said: Mapping[str, Speech], path: Path) -> None:
    """Draw speeches by their titles: spectrogram, pitch (WORLD's, on a scale of its own) and words.

    path: .png, .svg or .pdf. Raises ModuleNotFoundError without matplotlib or pyworld, ValueError for another ending.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        track = TOOLS["f0"][1]()
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"a plot needs {error.name}: {install('eval')}.") from error
    figure = Figure(figsize=(8, 1.6 * len(said)), dpi=75, layout="constrained")
    FigureCanvasAgg(figure)
    longest = max(speech.duration_s for speech in said.values())
    for axes, (title, speech) in zip(figure.subplots(len(said), 1, squeeze=False)[:, 0], said.items(), strict=True):
        samples = speech.sound.mono(RATE)
        axes.specgram(samples, 512, RATE, noverlap=352, cmap="magma", vmin=-120, vmax=-35)
        axes.set(title=title, xlim=(0, longest), ylim=(0, 6_000), yticks=(0, 2_000, 4_000, 6_000), ylabel="Hz")
        f0, hops = track(samples), np.square(samples).reshape(-1, RATE // 100).mean(1)
        f0 = np.where(hops > hops.max() / 1e4, f0[: len(hops)], 0)
        times = np.arange(len(f0)) / 100
        pitch = axes.twinx()
        pitch.plot(times, np.where(f0 > 0, f0, np.nan), color="#7fdbff", linewidth=1.8)
        pitch.set(ylim=(50, 600), yticks=(100, 300, 500))
        pitch.set_ylabel("F0, Hz", color="#1f6f8b")
        for word, start, end in speech.words:
            axes.text((start + end) / 2, 5_600, word, color="white", fontsize=8, ha="center", va="center")
    with written_beside(path, PLOTS) as part:
        figure.savefig(part, format=Path(path).suffix[1:].lower())
