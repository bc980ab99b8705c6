"""Words of other languages by espeak-ng, with the phones of ours that are nearest: the extra `espeak`.

espeak-ng is under the GPL, so mien neither ships nor needs it: the extra `espeak` brings it, and opens French,
Spanish, Italian and Portuguese.
"""

import re
import unicodedata
from functools import cache
from typing import Any

from mien.codec.phones import FROM_KOKORO
from mien.layers.extras import install
from mien.tts.normalise import FOLDED, PAUSES, Said, stronger

LANGUAGES = {"fr": "fr-fr", "es": "es", "it": "it", "pt": "pt-br"}
WORD = re.compile(rf"[^\W_]+(?:['-][^\W_]+)*|\d+(?:[.,]\d+)*|\.{{3}}|[{PAUSES}]")
# espeak's own signs beside those of the codec's table.
IPA = {sign: phone for sign, phone in FROM_KOKORO.items() if phone and not sign.isupper()} | {
    "dʒ": "JH", "tʃ": "CH", "ts": "T S", "dz": "D Z", "ʎ": "L Y", "ɲ": "N Y", "ʋ": "V", "β": "B", "ɹ": "R", "r": "R",
    "ɾ": "R", "ɫ": "L", "ɨ": "IH", "ɯ": "UW", "ʌ": "AH", "ɒ": "AA", "ɔ": "AO", "c": "K", "ɟ": "G", "χ": "HH",
}  # fmt: skip
SIGN = re.compile("|".join(sorted(map(re.escape, IPA), key=len, reverse=True)) + "|[ˈˌ]")


def words_of(text: str, language: str) -> tuple[list[Said], list[tuple[str, ...]]]:
    """Words of a text and the phones of each, stress after vowels as in the English dictionary.

    Raises ValueError for a language that is not there, ModuleNotFoundError with what to install when the extra is missing.
    """
    if language not in LANGUAGES:
        raise ValueError(f"Unknown language '{language}': choose en, or with the extra `espeak` {', '.join(LANGUAGES)}.")
    said: list[Said] = []
    plain = "".join(FOLDED.get(sign, sign) if FOLDED.get(sign, "") in ("'", "-") else sign for sign in text)
    for match in WORD.finditer(plain):
        token = "…" if match[0] == "..." else match[0]
        if token not in PAUSES:
            said.append(Said(token, "", *match.span()))
        elif said:
            last = said[-1]
            said[-1] = Said(last.text, stronger(last.pause, token), last.start, last.end)
    sounds = [_phones(ipa) for ipa in _espeak(language, tuple(word.text for word in said))] if said else []
    spoken = [(word, phones) for word, phones in zip(said, sounds, strict=True) if phones]
    return [word for word, _ in spoken], [phones for _, phones in spoken]


@cache
def _backend(language: str) -> Any:
    try:
        import espeakng_loader
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"The language {language} needs espeak-ng: {install('espeak')}.") from error
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    return EspeakBackend(LANGUAGES[language], with_stress=True, language_switch="remove-flags")


def _espeak(language: str, words: tuple[str, ...]) -> list[str]:
    return _backend(language).phonemize(list(words), strip=True)


def _phones(ipa: str) -> tuple[str, ...]:
    """Signs of the phonetic alphabet as phones; the stress mark stands before the syllable, ours behind the vowel."""
    phones: list[str] = []
    stress = "0"
    for sign in SIGN.findall(unicodedata.normalize("NFD", ipa)):
        if sign in "ˈˌ":
            stress = "1" if sign == "ˈ" else "2"
            continue
        for phone in IPA[sign].split():
            vowel = phone[0] in "AEIOU"
            phones.append(phone + stress if vowel else phone)
            stress = "0" if vowel else stress
    return tuple(phones)
