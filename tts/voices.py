"""Named voices: what each is called, and which of the teacher's voices it was learned from.

A checkpoint stores what it learned under the teacher's names; here they get names of their own, and more voices are
blended from two. Nobody's voice is meant by them: the teacher, Kokoro-82M, made up its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

Kind = TypeVar("Kind", bound=Any)


@dataclass(frozen=True)
class Voice:
    """A voice. learned_from: shares of the teacher's voices, which sum to one. manner: how it sounds, in a word or two."""

    name: str
    sex: str
    accent: str
    learned_from: Mapping[str, float]
    manner: str


VOICES = (
    Voice("clara", "woman", "American", {"af_heart": 1.0}, "warm"),
    Voice("ruby", "woman", "American", {"af_bella": 1.0}, "lively"),
    Voice("ivy", "woman", "American", {"af_nicole": 1.0}, "soft, low"),
    Voice("daisy", "woman", "British", {"bf_emma": 1.0}, "clear"),
    Voice("nora", "woman", "American", {"af_heart": 0.5, "af_bella": 0.5}, "even"),
    Voice("maya", "woman", "between both", {"af_heart": 0.5, "bf_emma": 0.5}, "calm"),
    Voice("tom", "man", "American", {"am_michael": 1.0}, "deep, calm"),
    Voice("max", "man", "American", {"am_fenrir": 1.0}, "firm"),
    Voice("arthur", "man", "British", {"bm_george": 1.0}, "clear"),
    Voice("sam", "man", "American", {"am_michael": 0.5, "am_fenrir": 0.5}, "even"),
    Voice("oliver", "man", "between both", {"am_michael": 0.5, "bm_george": 0.5}, "mellow"),
    Voice("leo", "man", "between both", {"am_fenrir": 0.5, "bm_george": 0.5}, "earnest"),
)
DEFAULT = VOICES[0].name


def named(stored: Mapping[str, Kind]) -> dict[str, Kind]:
    """What is stored by the teacher's names, by ours: first the voices of the table that can be made of it, then the rest.

    stored: arrays or tensors that can be blended.
    """
    ours = {v.name: v.learned_from for v in VOICES if all(part in stored for part in v.learned_from)}
    blended: dict[str, Any] = {
        name: sum(share * stored[part] for part, share in parts.items()) for name, parts in ours.items()
    }
    return blended | dict(stored)


def no_voice(name: str, known: Mapping[str, Any]) -> ValueError:
    """The error for a voice that is not there, with what may have been meant."""
    near = get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    ours = [voice.name for voice in VOICES if voice.name in known] or list(known)
    return ValueError(f"There is no voice '{name}': {hint}Give a recording or one of {', '.join(ours)}.")
