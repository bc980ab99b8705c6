"""`mien tts`: how a text is read."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from mien.cli import one_sentence, progress_bar

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


@app.command("eval")
@one_sentence
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder of recordings with a manifest, or with sounds and .txt beside.")],
    split: Annotated[str, typer.Option(help="Which recordings of the manifest: test, val or train.")] = "test",
    limit: Annotated[int | None, typer.Option(help="Most sentences; 10 or so for a quick look.", min=1)] = 100,
    voice: Annotated[str, typer.Option(help="The voice that reads all sentences.")] = "clara",
    engine: Annotated[str, typer.Option(help="Who reads: mien, a synthesiser's file.")] = "mien",
    other: Annotated[
        list[str] | None, typer.Option(help="Another engine to judge: kokoro, its folder, or espeak; may be given again.")
    ] = None,
    readers: Annotated[
        list[Path] | None, typer.Option(help="Folder of recordings whose unseen speakers lend their voices; again for more.")
    ] = None,
    corpus: Annotated[list[str] | None, typer.Option(help="Of readers only this corpus; may be given again.")] = None,
    most_readers: Annotated[int | None, typer.Option(help="Most readers of a folder.", min=1)] = None,
    per_voice: Annotated[int, typer.Option(help="Sentences that every named voice reads.", min=0)] = 0,
    per_feeling: Annotated[int, typer.Option(help="Sentences that are read with every feeling.", min=0)] = 0,
    leave_out: Annotated[list[str] | None, typer.Option(help="A figure not to take; may be given again.")] = None,
    whisper: Annotated[
        list[str] | None,
        typer.Option(help="Whisper of faster-whisper that counts words: name or folder; again for a second."),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write everything: .json.")] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of readers and the intervals.")] = 0,
    json: AsJson = False,
) -> None:
    """Read held-out sentences and judge them beside their recordings, in one run."""
    from mien.codec.evaluation import JSON, write_json
    from mien.codec.metrics import TOOLS, Judge
    from mien.media.files import check_writable
    from mien.tts import evaluation
    from mien.tts.speech import Narrator

    if out is not None:
        check_writable(out, JSON)
    narrator = Narrator(engine)
    clips = evaluation.read_sentences(folder, split, evaluation.learned_from(voice), limit)
    people = {f.name: evaluation.read_readers(f, split, corpus or (), most_readers, seed) for f in readers or ()}
    first, *more = whisper or ["tiny.en"]
    judge = Judge(evaluation.LEAVE_OUT | set(leave_out or ()), first)
    with progress_bar(json, "judging") as progress:
        found = evaluation.evaluate(
            narrator,
            clips,
            judge,
            voice=voice,
            ears=[Judge(TOOLS.keys() - {"wer"}, name) for name in more],
            others={name: evaluation.Espeak() if name == "espeak" else Narrator(name) for name in other or ()},
            readers=people,
            per_voice=per_voice,
            per_feeling=per_feeling,
            seed=seed,
            progress=progress,
        )
    typer.echo(jsonlib.dumps(found) if json else evaluation.table(found))
    if out is not None:
        write_json(found, out)


@app.command()
@one_sentence
def plot(
    text: Annotated[str, typer.Argument(help="What is said.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Picture to write: .png, .svg or .pdf.")],
    emotion: Annotated[list[str] | None, typer.Option(help="A panel for it; may be given again. Plain if left out.")] = None,
    voice: Annotated[str, typer.Option(help="Who says it.")] = "clara",
    engine: Annotated[str, typer.Option(help="Who reads: mien, kokoro, or what they are kept in.")] = "mien",
) -> None:
    """Draw how a text sounds: spectrogram, pitch and words, a panel for every feeling."""
    from mien.tts.evaluation import plot as draw
    from mien.tts.speech import Narrator

    narrator = Narrator(engine)
    draw({feeling: narrator.speak(text, voice, feeling) for feeling in emotion or ["neutral"]}, out)
