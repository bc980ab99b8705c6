"""Trials of the codec: held-out clips go through it and through its peers, and everything is judged in one run.

`read_clips` chooses the clips, `evaluate` judges, `table` and `plot` show. What a system costs is counted in the bytes
that its decoder gets; all clips go through every system as 16 kHz mono.
"""

import csv
import gzip
import importlib.util
import json
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mien.codec import bitstream
from mien.codec.baselines import RATE, System, container_bytes, fitted
from mien.codec.metrics import FIGURES, Judge, Recording, Verdict, codebook_use, summary
from mien.layers.extras import install
from mien.media import load_sound
from mien.media.files import written_beside

if TYPE_CHECKING:
    from mien.codec.tokens import Layout, Tokens

SOUNDS = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a"}
ORIGINAL, OURS = "original", "mien"
COLUMNS = {
    "kbps": "kbps", "pesq_wb": "PESQ-WB", "pesq_nb": "PESQ-NB", "stoi": "STOI", "estoi": "ESTOI", "log_mel": "mel dB",
    "wer": "WER %", "cer": "CER %", "speaker": "speaker", "dnsmos": "DNSMOS", "f0": "F0 cent", "voicing": "voicing %",
    "rtf_encode": "RTF enc", "rtf_decode": "RTF dec",
}  # fmt: skip
PERCENT = {"wer", "cer", "voicing"}
OUR_COLOUR = "#c8102e"
PALETTE = ("#1f6f8b", "#d98e04", "#5b5f97", "#4f7942", "#7a5195", "#8c6d46", "#777777")
JSON, PLOTS = (".json",), (".png", ".svg", ".pdf")  # endings that can be written
PANELS = {"pesq_wb": "PESQ-WB (MOS-LQO)", "stoi": "STOI", "wer": "word error rate, %"}


# -- clips -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clip:
    """A recording to be coded. text: what is said; speaker: the file itself where it is not known."""

    path: Path
    speaker: str
    text: str = ""
    corpus: str = ""
    language: str = ""
    emotion: str = ""
    split: str = ""


def read_clips(
    folder: Path,
    split: str | None = "test",
    corpora: Collection[str] = (),
    limit: int | None = None,
    shortest_s: float = 0.0,
    longest_s: float = float("inf"),
    seed: int = 0,
) -> list[Clip]:
    """The clips of a folder: by its lists, or else all its sounds, each with its words in a .txt beside it.

    A list is as `manifest_rows` reads it; it has the column file, and may have speaker_id or voice, text, corpus, language,
    emotion, split, duration_s. split: of the list; None takes all. corpora: of the list; none named takes all. limit: that
    many, spread evenly over the speakers and drawn by `seed`. shortest_s, longest_s: other clips are passed over.
    Raises FileNotFoundError without the folder, ValueError when nothing is left.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: give one with a manifest.csv or with sound files.")
    clips = []
    for row in manifest_rows(folder) if any(_lists(folder)) else _sounds(folder):
        if not row.get("file"):
            raise ValueError(f"A list of {folder} has no column 'file': name each sound there, from the list's folder.")
        path = folder / row["file"]
        if split and row.get("split") not in (split, None) or corpora and (row.get("corpus") or "") not in corpora:
            continue
        if (shortest_s > 0 or longest_s < float("inf")) and not shortest_s <= _duration_s(path, row) <= longest_s:
            continue
        speaker, text = row.get("speaker_id") or row.get("voice") or row["file"], row.get("text") or ""
        others = {name: row.get(name) or "" for name in ("corpus", "language", "emotion", "split")}
        clips.append(Clip(path, speaker, text, **others))
    if not clips:
        asked = " ".join(filter(None, [f"of split '{split}'" if split else "", *map(repr, corpora)]))
        raise ValueError(f"{folder} holds no such clip {asked}: look at its manifest.csv, or ask for other clips.")
    return clips if limit is None else balanced(clips, limit, seed)


def balanced(clips: Sequence[Clip], limit: int, seed: int = 0) -> list[Clip]:
    """At most `limit` clips: one of every speaker before the second of any, drawn by `seed`, in the order they came."""
    rng = np.random.default_rng(seed)
    by_speaker = defaultdict(list)
    for number in rng.permutation(len(clips)):
        by_speaker[clips[number].speaker].append(int(number))
    turns = [(turn, number) for numbers in by_speaker.values() for turn, number in enumerate(numbers)]
    chosen = sorted(turns, key=lambda pair: pair[0])[:limit]  # stable: within a turn speakers stay shuffled
    return [clips[number] for number in sorted(number for _, number in chosen)]


def manifest_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a folder's lists: manifest.csv, and manifest*.jsonl, which may be gzipped. Raises FileNotFoundError when
    it holds none."""
    lists = _lists(folder)
    if not lists:
        raise FileNotFoundError(
            f"{folder} holds neither manifest.csv nor manifest*.jsonl: give a folder of speech with its list."
        )
    for path in lists:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file) if path.suffix == ".csv" else map(json.loads, file)


def _lists(folder: Path) -> list[Path]:
    return [*folder.glob("manifest.csv"), *sorted(folder.glob("manifest*.jsonl*"))]


def _sounds(folder: Path) -> Iterator[dict[str, str]]:
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUNDS):
        words = path.with_suffix(".txt")
        text = words.read_text(encoding="utf-8").strip() if words.is_file() else ""
        yield {"file": str(path.relative_to(folder)), "text": text}


def _duration_s(path: Path, row: dict[str, Any]) -> float:
    return float(row.get("duration_s") or 0) or load_sound(path).duration_s


# -- our own codec -----------------------------------------------------------------------------------------------------


class Config(Protocol):
    """The part of a codec's config that its bitstream needs."""

    @property
    def name(self) -> str: ...
    @property
    def layout(self) -> "Layout": ...


class Codec(Protocol):
    """What `load_codec` gives, as far as a trial needs it."""

    @property
    def config(self) -> Config: ...
    def encode(self, samples: np.ndarray, tiers: int | None = None) -> "Tokens": ...
    def decode(self, tokens: "Tokens") -> np.ndarray: ...


class Ours:
    """Our codec at one rate, through its bitstream: what is decoded was read from the bytes that were written.

    tiers: enhancement tiers that are kept. kbps: what the rate is called. tables: for entropy coding, if it is wanted.
    """

    def __init__(self, codec: Codec, tiers: int, kbps: str, tables: Mapping[str, np.ndarray] | None = None):
        self.codec, self.tiers, self.tables = codec, tiers, tables
        self.name = f"{OURS} {kbps}"
        self.note = "header, checks and voice codes are in its bytes"

    def encode(self, samples: np.ndarray) -> bytes:
        """See `System`."""
        tokens = self.codec.encode(samples, self.tiers)
        return bitstream.write(tokens if self.tables is None else bitstream.bounded(tokens, self.tables), self.tables)

    def decode(self, data: bytes, n_samples: int) -> np.ndarray:
        """See `System`."""
        return self.codec.decode(self.tokens(data))

    def tokens(self, data: bytes) -> "Tokens":
        """The digits that the bytes hold."""
        config = self.codec.config
        return bitstream.read(data, config.name, self.tables, layout=config.layout).tokens


def codebooks(parts: Sequence["Tokens"]) -> dict[str, Any]:
    """`codebook_use` of S, of every tier and of G over the tokens of many clips."""
    layout = parts[0].layout
    found = {"semantic": codebook_use(np.concatenate([part.semantic for part in parts]), layout.semantic)}
    for tier in range(parts[0].tiers.shape[1]):
        digits = np.concatenate([part.tiers[:, tier] for part in parts])
        found[f"tier {tier + 1}"] = codebook_use(digits, layout.tier)
    found["voice"] = codebook_use(np.concatenate([part.voice for part in parts]), layout.voice)
    return found


# -- the trial ---------------------------------------------------------------------------------------------------------


def evaluate(
    systems: Sequence[System],
    clips: Sequence[Clip],
    judge: Judge | None = None,
    *,
    notes: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[float, float], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Code every clip with every system and judge it beside the original.

    notes: sentences to hand on, beside the judge's own. seed: of the bootstrap. progress: gets (done, total) in coded
    clips. A system that raises OSError or ValueError on a clip has failed on it.
    Returns `systems` by name, the originals first: figures as `metrics.summary` gives them, the system's note, for ours
    its use of the codebooks; `clips` with each clip's own figures and failures; notes, definitions, seconds.
    """
    started = time.perf_counter()
    judge = judge or Judge()
    names = [ORIGINAL, *(system.name for system in systems)]
    if len(set(names)) < len(names):
        raise ValueError(f"two systems have one name among {', '.join(names)}: judge each once.")
    verdicts: dict[str, list[Verdict]] = {name: [] for name in names}
    tokens: dict[str, list[Tokens]] = defaultdict(list)
    rows, heard = [], 0
    for number, clip in enumerate(clips):
        samples = load_sound(clip.path).mono(RATE)
        heard += len(samples)
        text = clip.text if clip.language.partition("-")[0] in ("", "en") else ""
        original = judge.hear(samples)
        verdicts[ORIGINAL].append(judge.alone(original, text))
        for done, system in enumerate(systems, 1):
            verdict, data = _tried(system, original, judge, text)
            verdicts[system.name].append(verdict)
            if isinstance(system, Ours) and data is not None:
                tokens[system.name].append(system.tokens(data))
            progress(number * len(systems) + done, len(clips) * len(systems))
        told = {name: {"figures": taken[-1].figures, "failed": taken[-1].failed} for name, taken in verdicts.items()}
        rows.append({"file": clip.path.name, "speaker": clip.speaker, "corpus": clip.corpus, "systems": told})
    found: dict[str, Any] = {name: {"figures": summary(verdicts[name], seed)} for name in names}
    for system in systems:
        found[system.name]["note"] = system.note
    for name, parts in tokens.items():
        found[name]["codebooks"] = codebooks(parts)
    return {
        "systems": found,
        "clips": rows,
        "speakers": len({clip.speaker for clip in clips}),
        "duration_s": round(heard / RATE, 2),
        "notes": [*notes, *judge.notes],
        "definitions": {name: {"unit": u, "better": b, "definition": d} for name, (u, b, d) in FIGURES.items()},
        "seconds": round(time.perf_counter() - started, 1),
    }


def _tried(system: System, original: Recording, judge: Judge, text: str) -> tuple[Verdict, bytes | None]:
    """One clip through one system: what it comes to and what its decoder got, None where the system failed."""
    samples = original.samples
    begun = time.perf_counter()
    try:
        data = system.encode(samples)
        between = time.perf_counter()
        decoded = fitted(system.decode(data, len(samples)), len(samples))
    except (OSError, ValueError) as error:
        return judge.failure(str(error), text), None
    ended = time.perf_counter()
    spent = {
        "kbits": len(data) * 8 / 1000,
        "container_kbits": container_bytes(data) * 8 / 1000,
        "duration_s": len(samples) / RATE,
        "encode_s": between - begun,
        "decode_s": ended - between,
    }
    verdict = judge.compare(original, judge.hear(decoded), text)
    return Verdict(spent | verdict.figures, verdict.failed), data


def table(result: dict[str, Any]) -> str:
    """What `evaluate` found: a line a system, means over clips, and below each half the width of its 95 % interval."""
    systems = result["systems"]
    columns = [name for name in COLUMNS if any(name in found["figures"] for found in systems.values())]
    lines = [" " * 18 + "".join(f"{COLUMNS[name]:>11}" for name in columns)]
    for system, found in systems.items():
        means, widths = f"{system:18}", f"{'':18}"
        for name in columns:
            figure = found["figures"].get(name)
            if figure is None or figure["mean"] is None:
                means, widths = means + " " * 11, widths + " " * 11
                continue
            factor = 100 if name in PERCENT else 1
            places = 3 if name in ("stoi", "estoi", "speaker", "rtf_encode", "rtf_decode", "kbps") else 2
            low, high = figure["mean_95"]
            means += f"{factor * figure['mean']:11.{places}f}"
            widths += f"{f'±{factor * (high - low) / 2:.{places}f}':>11}"
        lines += [means, widths]
    length = f"{result['duration_s'] / 60:.1f} min of {result['speakers']} speakers"
    end = f"{len(result['clips'])} clips, {length}, judged in {result['seconds']:.0f} s"
    return "\n".join([*lines, *_remarks(systems), *result["notes"], end])


def _remarks(systems: dict[str, Any]) -> Iterable[str]:
    """What stands below the table: failures, the use of codebooks, what systems' bytes hold."""
    for system, found in systems.items():
        failures: dict[tuple[str, int], list[str]] = defaultdict(list)
        for name, figure in found["figures"].items():
            for reason, count in figure.get("reasons", {}).items():
                failures[reason, count].append(name)
        for (reason, count), names in failures.items():
            yield f"{system}: the means of {', '.join(names)} leave out {count} clips that failed: {reason}"
        for name, use in found.get("codebooks", {}).items():
            used = sum(use["levels_used"])
            whole = f", exp(entropy)/K {use['code_perplexity']:.2f}" if "code_perplexity" in use else ""
            yield f"{system}: {name}, {use['frames']} codes: {used} of {sum(use['levels'])} levels used{whole}"
        if "note" in found:
            container = found["figures"].get("container_kbps", {}).get("mean")
            yield f"{system}: {found['note']}" + (f": {container:.2f} kbit/s" if container else "")


def write_json(result: dict[str, Any], path: Path) -> None:
    """Write what `evaluate` found."""
    with written_beside(path, JSON) as part:
        part.write_text(json.dumps(result, indent=1), encoding="utf-8")


def check_plot(figures: Iterable[str]) -> None:
    """Raises ModuleNotFoundError without matplotlib, ValueError when none of the figures has a panel."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ModuleNotFoundError(f"a plot needs matplotlib: {install('eval')}.")
    if not PANELS.keys() & set(figures):
        raise ValueError(f"there is nothing to plot: none of {', '.join(PANELS)} was taken.")


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw quality against true rate, one panel each for PESQ-WB, STOI and WER, with 95 % intervals.

    path: .png, .svg or .pdf. Systems of one family (the first word of their names) are joined.
    Raises ModuleNotFoundError without matplotlib, ValueError for another ending or without any of the three.
    """
    families, taken = defaultdict(list), set()
    for name, found in result["systems"].items():
        if name != ORIGINAL:
            families[name.split()[0]].append((name, found["figures"]))
            taken |= {metric for metric, figure in found["figures"].items() if figure["mean"] is not None}
    check_plot(taken)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    order = sorted(families, key=lambda family: family != OURS)  # ours first in the legend
    panels = [name for name in PANELS if name in taken]
    figure = Figure(figsize=(4.6 * len(panels), 4.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, metric in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for number, family in enumerate(order):
            colour = OUR_COLOUR if family == OURS else PALETTE[number % len(PALETTE)]
            _draw_family(axes, families[family], metric, colour, family)
        _dress(axes, metric, result["systems"].get(ORIGINAL, {}).get("figures", {}).get(metric))
    figure.axes[0].legend(frameon=False, loc="upper left", fontsize=9)
    count = f"{len(result['clips'])} clips of {result['speakers']} speakers"
    figure.suptitle(f"Quality against true rate: {count}, means with 95 % intervals", fontsize=11)
    with written_beside(path, PLOTS) as part:
        figure.savefig(part, format=Path(path).suffix[1:].lower())


def _draw_family(axes: Any, rows: list[tuple[str, dict[str, Any]]], metric: str, colour: str, family: str) -> None:
    """One family's systems as joined points, each with its setting beside it."""
    from matplotlib.patheffects import withStroke

    rows = [(name, f) for name, f in rows if f.get(metric, {}).get("mean") is not None]
    if not rows:
        return
    rows.sort(key=lambda row: row[1]["kbps"]["mean"])
    factor = 100 if metric in PERCENT else 1
    rates = np.array([f["kbps"]["mean"] for _, f in rows])
    means = factor * np.array([f[metric]["mean"] for _, f in rows])
    spans = factor * np.array([f[metric]["mean_95"] for _, f in rows]).T  # (2, N)
    ours = family == OURS
    axes.errorbar(
        rates, means, np.abs(spans - means), color=colour, label=family, marker="o", markersize=6 if ours else 4.5,
        linewidth=2 if ours else 1.3, elinewidth=1, capsize=2.5, zorder=3 if ours else 2,
    )  # fmt: skip
    # Settings stand beside their points, ours on the side of the better, the others' on the other.
    right, up = not ours, (FIGURES[metric][1] == "higher") == ours
    where = {"xytext": (6 if right else -6, 4 if up else -10), "ha": "left" if right else "right"}
    for (name, _), rate, mean in zip(rows, rates, means, strict=True):
        text = axes.annotate(
            name.partition(" ")[2], (rate, mean), textcoords="offset points", fontsize=8, color=colour, zorder=4, **where
        )
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])


def _dress(axes: Any, metric: str, original: dict[str, Any] | None) -> None:
    """Axes, grid, and the originals' own figure as a line."""
    from matplotlib.ticker import FixedLocator, NullLocator

    factor = 100 if metric in PERCENT else 1
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.35, high * 1.25)
    ticks = [rate for rate in (0.25, 0.5, 1, 2, 4, 8, 16, 32) if low / 1.35 <= rate <= high * 1.25]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{rate:g}" for rate in ticks])
    axes.set_xlabel("kbit/s, all bytes counted")
    better = FIGURES[metric][1]
    axes.set_title(f"{PANELS[metric]}  ({better} is better)", fontsize=10)
    if better == "lower":
        axes.set_ylim(bottom=0)
    if original and original["mean"] is not None:
        level = factor * original["mean"]
        axes.axhline(level, color="#444444", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate("originals", (0.01, level), (0, 3), xycoords=("axes fraction", "data"),
                      textcoords="offset points", fontsize=8, color="#444444")  # fmt: skip
    axes.grid(True, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
