"""Text to words with all that a voice needs: phones, stress, pauses, emphasis and feeling.

    for word in read_text("[happy] We *won*! [/happy] [pause 0.5] Dr. Lee paid $5."):
        word.text, word.phones, word.stress, word.pause, word.emotion

Marks in a text: `[pause 0.5]` rests for so many seconds, `*so*` emphasises, `[happy]…[/happy]` sets a feeling, any word or
phrase that `Emotion.read` knows; a feeling that is not closed lasts to the end. A word in capitals among others is
emphasised too. A pause before the first word is dropped.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from mien.emotion import Emotion
from mien.tts.normalise import ACRONYMS, Said, spoken
from mien.tts.pronounce import pronounce

MARK = re.compile(r"\[(?P<mark>/?[A-Za-z][^\[\]\n]{0,80}|/)\]|\[(?P<note>[\d, –-]{1,12})\]")
PAUSE = re.compile(r"pause\s*(?:(?P<amount>\d*\.?\d+)\s*(?P<unit>ms|s|sec|seconds)?)?", re.IGNORECASE)
EMPHASIS = re.compile(r"(?<![\w*])(\*{1,2})(?=[^\s*])([^*\n]*[^\s*])\1(?![\w*])")
REST_S, MOST_REST_S = 0.5, 60.0
AROUND = 8  # words to either side that tell how a word is said


@dataclass(frozen=True)
class Word:
    """A word as it is to be said.

    text: the word, as written where it is written as it is said; "$5" gives "five" and "dollars". phones: names of
    `mien.codec.phones.PHONES`, never "sil". stress: beside them, 1 primary, 2 secondary, 0 else. pause: what follows the
    word, "" or the strongest of , ; : — … . ? ! rest_s: seconds of [pause] after it. emphasis: whether it is stressed by
    the writer. emotion: of the span that it stands in. sentence: which one it is in, from 0. span: where it is written,
    characters of the text given; words of one number share theirs.
    """

    text: str
    phones: tuple[str, ...]
    stress: tuple[int, ...]
    pause: str = ""
    rest_s: float = 0.0
    emphasis: bool = False
    emotion: Emotion | None = None
    sentence: int = 0
    span: tuple[int, int] = (0, 0)


@dataclass
class _Marks:
    """What a text is marked with: the text with blanks for marks, and where each of them holds."""

    text: str
    rests: list[tuple[int, float]] = field(default_factory=list)  # position, seconds
    loud: list[tuple[int, int]] = field(default_factory=list)
    feelings: list[tuple[int, int, Emotion]] = field(default_factory=list)


def read_text(text: str, language: str = "en") -> list[Word]:
    """The words of a text, ready to be said.

    language: en; fr, es, it and pt with the extra `espeak`. Raises ValueError in one sentence for a text without words, a
    script that cannot be read, a mark that is not known or a language that is not there.
    """
    marks = _marks(text)
    if language == "en":
        said = spoken(marks.text)
        phones = _english(said, marks)
    else:
        from mien.tts.foreign import words_of

        said, phones = words_of(marks.text, language)
    if not said:
        raise ValueError(f"There is nothing to say in '{text[:40]}': give a text with words.")
    rests = _rests(said, marks)
    words, sentence = [], 0
    for index, (word, sounds) in enumerate(zip(said, phones, strict=True)):
        words.append(
            Word(
                text=word.text,
                phones=tuple(phone.rstrip("012") for phone in sounds),
                stress=tuple(int(phone[-1]) if phone[-1].isdigit() else 0 for phone in sounds),
                pause=word.pause,
                rest_s=rests[index],
                emphasis=_emphasised(word, marks),
                emotion=next((e for a, b, e in reversed(marks.feelings) if a <= word.start < b), None),
                sentence=sentence,
                span=(word.start, word.end),
            )
        )
        sentence += _ends(said, index)
    return words


def _ends(said: list[Said], index: int) -> bool:
    """Whether a sentence ends with this word: by . ? or !, or by … where a capital follows."""
    pause = said[index].pause
    return pause != "" and (
        pause in ".?!" or pause == "…" and said[index + 1 : index + 2] != [] and said[index + 1].text[0].isupper()
    )


def _rests(said: list[Said], marks: _Marks) -> list[float]:
    """Seconds of rest after each word: those marked between its end and the next one's."""
    rests, ends = [0.0] * len(said), [word.end for word in said]
    for at, seconds in marks.rests:
        if (index := bisect_right(ends, at) - 1) >= 0:
            rests[index] = min(rests[index] + seconds, MOST_REST_S)
    return rests


def _english(said: list[Said], marks: _Marks) -> list[tuple[str, ...]]:
    """Phones of each word, told by its neighbours in the same sentence, and joined to what follows without a pause."""
    texts = [word.text for word in said]
    edges = [0, *(i + 1 for i in range(len(said)) if _ends(said, i)), len(said)]
    phones: list[tuple[str, ...]] = []
    for start, end in zip(edges, edges[1:], strict=False):
        for i in range(start, end):
            before, after = texts[max(start, i - AROUND) : i], texts[i + 1 : min(end, i + 1 + AROUND)]
            phones.append(pronounce(texts[i], before, after, weak=not _emphasised(said[i], marks)))
    for i, word in enumerate(said):
        following = phones[i + 1] if i + 1 < len(said) and not word.pause else ()
        phones[i] = _linked(phones[i], following)
    return phones


def _linked(sounds: tuple[str, ...], following: tuple[str, ...]) -> tuple[str, ...]:
    """An unstressed ER before a vowel is AH and R, within a word and from word to word: "every", "after all"."""
    then = (*sounds[1:], *following[:1], "")
    return tuple(
        part
        for phone, next_phone in zip(sounds, then, strict=False)
        for part in (("AH0", "R") if phone == "ER0" and next_phone[-1:].isdigit() else (phone,))
    )


def _emphasised(word: Said, marks: _Marks) -> bool:
    loud = len(word.text) > 1 and word.text.isupper() and not marks.text.isupper() and word.text.lower() not in ACRONYMS
    return loud or any(start <= word.start < end for start, end in marks.loud)


def _marks(text: str) -> _Marks:
    """Take the marks out of a text and leave blanks, so that every character keeps its place."""
    marks = _Marks(text)
    blank = list(text)
    opened: list[tuple[str, int, Emotion]] = []
    for found in MARK.finditer(text):
        start, end = found.span()
        blank[start:end] = " " * (end - start)
        name = (found["mark"] or "").strip().lower()
        if found["note"] or not name:
            continue  # "[12]" points to a footnote
        if name.startswith("/"):
            if not opened or name[1:].strip() not in ("", opened[-1][0]):
                known = f"[/{opened[-1][0]}]" if opened else "an opening mark such as [happy]"
                raise ValueError(f"'{found[0]}' closes nothing: {known} is expected here.")
            _, since, feeling = opened.pop()
            marks.feelings.append((since, start, feeling))
        elif rest := PAUSE.fullmatch(name):
            seconds = float(rest["amount"] or REST_S) / (1000 if rest["unit"] == "ms" else 1)
            marks.rests.append((start, seconds))
        else:
            opened.append((name, end, _feeling(name, found[0])))
    marks.feelings += [(since, len(text), feeling) for _, since, feeling in opened]
    marks.feelings.sort(key=lambda span: span[0])
    text = "".join(blank)
    for found in EMPHASIS.finditer(text):
        marks.loud.append(found.span())
        for at in (*range(*found.span(1)), *range(found.end() - len(found[1]), found.end())):
            blank[at] = " "
    marks.text = "".join(blank)
    return marks


def _feeling(name: str, written: str) -> Emotion:
    try:
        return Emotion.read(name)
    except ValueError as error:
        raise ValueError(
            f"Unknown mark '{written}': {str(error).rpartition(': ')[2]} Marks are [pause 0.5], *word* and "
            "[feeling] … [/feeling]; for words in brackets use ( )."
        ) from error
