"""`mien tts`: how a text is read."""

import json as jsonlib
from typing import Annotated

import typer

from mien.cli import one_sentence

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

AsJson = Annotated[bool, typer.Option("--json", help="Print one object.")]


@app.command()
@one_sentence
def read(
    text: Annotated[str, typer.Argument(help="Text, with marks if there are any.")],
    language: Annotated[str, typer.Option(help="en; fr, es, it or pt with the extra `espeak`.")] = "en",
    json: AsJson = False,
) -> None:
    """Show how a text would be said: every word, its phones with their stress, pauses and marks."""
    from mien.tts.text import read_text

    words = read_text(text, language)
    rows = [
        {
            "word": word.text,
            "phones": [
                phone + (str(stress) if stress else "") for phone, stress in zip(word.phones, word.stress, strict=True)
            ],
            "pause": word.pause,
            "rest_s": word.rest_s,
            "emphasis": word.emphasis,
            "emotion": None if word.emotion is None else str(word.emotion),
        }
        for word in words
    ]
    if json:
        typer.echo(jsonlib.dumps(rows))
        return
    for row in rows:
        rest = f"rest {row['rest_s']:g} s" if row["rest_s"] else ""
        notes = ", ".join(filter(None, ("emphasis" if row["emphasis"] else "", rest, row["emotion"])))
        typer.echo(f"{row['word'] + row['pause']:20} {' '.join(row['phones']):40} {notes}".rstrip())
