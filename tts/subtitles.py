"""Subtitles: words with their times, as they are written in the text, in lines that are read at a glance."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mien.media.files import written_beside
from mien.tts.text import MARK, Word

Times = tuple[str, float, float]  # what is said, from when to when, seconds
LONGEST, LONGEST_S = 84, 6.0  # characters (two lines of 42) and seconds of one subtitle
REST_S = 0.6  # after which a new one begins
ENDS = re.compile(r"[.?!…][\"'”’)\]]*\s*$")
TAIL = re.compile(r"\S*(?: [?!:;»]+)?\s?")  # of what stands between words: French sets its signs apart
BREAKS = re.compile(r"[,;:—][\"'”’)\]]*\s*$")


def as_written(text: str, words: Sequence[Word]) -> list[str]:
    """What stands in the text for each word, with the punctuation around it and the space behind it: "" for all but the
    first word of a number. Marks are left out; all of it joined is the text."""
    out, before = [], ""
    for n, word in enumerate(words):
        start, end = word.span
        if n and words[n - 1].span == word.span:
            out.append("")
            continue
        after = next((w.span[0] for w in words[n + 1 :] if w.span != word.span), len(text))
        gap = re.sub(r"\s+", " ", MARK.sub("", text[end : max(after, end)]).replace("*", ""))
        stays = TAIL.match(gap)[0] if after < len(text) else gap  # pyright: ignore[reportOptionalSubscript]
        shown = MARK.sub("", text[start:end]).replace("*", "")
        out.append(before + shown + stays)
        before = gap[len(stays) :].lstrip()
    return out


def lines(words: Sequence[Times], written: Sequence[str]) -> Iterator[Times]:
    """Words in subtitles: a new one after a sentence or a rest, or at a comma or anywhere when one gets long."""
    line, start, end = "", 0.0, 0.0
    for (_, a, b), text in zip(words, written, strict=True):
        full = len(line) + len(text.strip()) > LONGEST or b - start > LONGEST_S
        half = len(line) > LONGEST / 2 and BREAKS.search(line)
        if line.strip() and text and (full or half or a - end > REST_S or ENDS.search(line)):
            yield line.strip(), start, end
            line = ""
        start = start if line else a
        line, end = line + text, b
    if line.strip():
        yield line.strip(), start, end


def srt(cues: Iterator[Times]) -> str:
    """SubRip."""
    return "\n".join(f"{n}\n{_clock(a, ',')} --> {_clock(b, ',')}\n{line}\n" for n, (line, a, b) in enumerate(cues, 1))


def vtt(cues: Iterator[Times]) -> str:
    """WebVTT, whose text may not hold < and &."""
    safe = str.maketrans({"<": "&lt;", "&": "&amp;"})
    shown = (f"{_clock(a, '.')} --> {_clock(b, '.')}\n{line.translate(safe)}\n" for line, a, b in cues)
    return "WEBVTT\n\n" + "\n".join(shown)


WRITES = {".srt": srt, ".vtt": vtt}


def save(path: str | Path, words: Sequence[Times], written: Sequence[str]) -> None:
    """Write subtitles: .srt or .vtt."""
    with written_beside(path, WRITES) as part:
        part.write_text(WRITES[Path(path).suffix.lower()](lines(words, written)), encoding="utf-8")


def _clock(seconds: float, point: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
