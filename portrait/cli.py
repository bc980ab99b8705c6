"""`mien portrait`: judge talking portraits and the speed at which they are made."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from mien.cli import one_sentence

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

AsJson = Annotated[bool, typer.Option("--json", help="Print one object; progress goes to the error stream.")]
Model = Annotated[str, typer.Option(help="Animator: name of a checkpoint or a file.")]
TrackerName = Annotated[str, typer.Option(help="Who finds the picture's face: mien, mediapipe or face-alignment.")]
Judge = Annotated[str, typer.Option(help="Who tracks the films for judgement; our own tracker is no judge of itself.")]
TrackerModel = Annotated[Path | None, typer.Option(help="The tracker's weights, if they are not where it looks.")]


def _news(line: str) -> None:
    typer.echo(line, err=True)


@app.command("eval")
@one_sentence
def evaluate(
    folders: Annotated[list[Path], typer.Argument(help="Folders with a manifest.csv (see `mien.training.prepare`).")],
    split: Annotated[str, typer.Option(help="Which clips: test, val or train.")] = "test",
    limit: Annotated[int | None, typer.Option(help="Most clips, evenly chosen; all if left out.")] = None,
    seconds: Annotated[float, typer.Option(help="Longest part of a clip that is looked at.")] = 20.0,
    model: Model = "animator-nano",
    tracker: Annotated[
        list[str], typer.Option(help="Who finds the pictures' faces; given twice, both are tried side by side.")
    ] = ["mien"],  # noqa: B006 - typer's form of a default
    tracker_model: TrackerModel = None,
    judge: Judge = "mediapipe",
    device: Annotated[str, typer.Option(help="Where networks run: auto, cpu, cuda or mps.")] = "auto",
    json: AsJson = False,
) -> None:
    """Make clips' first frames talk, track the films again, judge them beside real footage, a still and wrong audio."""
    from mien import front
    from mien.portrait import evaluation
    from mien.portrait.tracking import load_tracker

    if seconds < 2:
        raise ValueError(f"{seconds:g} seconds of a clip are too few to judge: give at least 2.")
    if tracker_model is not None and len(tracker) > 1:
        raise ValueError("--tracker-model belongs to one tracker: give one --tracker, or no weights.")
    finder = load_tracker(judge)
    found = {}
    for name in tracker:

        def prepare(picture, name=name):
            return front.Animator(picture, tracker=name, tracker_model=tracker_model, model=model, device=device)

        found[name] = evaluation.evaluate(
            folders, prepare, split=split, limit=limit, longest_s=seconds, tracker=finder, news=_news
        )
    if len(found) > 1:
        typer.echo(jsonlib.dumps(found) if json else evaluation.side_by_side(found))
        return
    (alone,) = found.values()
    typer.echo(jsonlib.dumps(alone) if json else evaluation.table(alone))


@app.command()
@one_sentence
def reenact(
    folders: Annotated[list[Path], typer.Argument(help="Folders with a manifest.csv (see `mien.training.prepare`).")],
    split: Annotated[str, typer.Option(help="Which clips: test, val or train.")] = "val",
    limit: Annotated[int | None, typer.Option(help="Most clips, evenly chosen; all if left out.")] = None,
    seconds: Annotated[float, typer.Option(help="Longest part of a clip that is looked at.")] = 4.0,
    judge: Judge = "mediapipe",
    json: AsJson = False,
) -> None:
    """Make clips again from their first frame and their own motion; compare with them, a still and a plain warp."""
    from mien.portrait import reenactment
    from mien.portrait.tracking import load_tracker

    if seconds < 0.5:
        raise ValueError(f"{seconds:g} seconds of a clip are too few to judge: give at least 0.5.")
    finder = load_tracker(judge)
    found = reenactment.reenact(folders, split=split, limit=limit, longest_s=seconds, tracker=finder, news=_news)
    typer.echo(jsonlib.dumps(found) if json else reenactment.table(found))


@app.command("bench")
@one_sentence
def benchmark(
    model: Model = "animator-nano",
    memory: Annotated[bool, typer.Option(help="Also weigh 1 and 10 minutes at 512 pixels and 60 at 128 (long).")] = True,
    json: AsJson = False,
) -> None:
    """Time `mien animate` at 256, 512 pixels and 1080p by stage; weigh it for short and long films."""
    from mien.portrait.bench import bench

    found = bench(model, memory, _news)
    if json:
        typer.echo(jsonlib.dumps(found))


@app.command()
@one_sentence
def emotions(
    image: Annotated[Path, typer.Argument(help="Picture with a face.")],
    audio: Annotated[Path, typer.Argument(help="Voice: any sound or film.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Contact sheet to write: .png, .jpg or .webp.")] = Path(
        "emotions.png"
    ),
    width: Annotated[int, typer.Option(help="Of one picture of the sheet, pixels.")] = 192,
    seed: Annotated[int, typer.Option(help="Same seed, same motion.")] = 0,
    model: Model = "animator-nano",
    tracker: TrackerName = "mien",
    tracker_model: TrackerModel = None,
    judge: Judge = "mediapipe",
    device: Annotated[str, typer.Option(help="Where networks run: auto, cpu, cuda or mps.")] = "auto",
    json: AsJson = False,
) -> None:
    """Every emotion at three intensities on one sheet, and whether a tracker sees each grow with its intensity."""
    from mien import front
    from mien.media import load_sound, save_image
    from mien.portrait import evaluation
    from mien.portrait.tracking import load_tracker

    stage = front.Animator(image, tracker=tracker, tracker_model=tracker_model, model=model, device=device)
    finder = load_tracker(judge)
    page, seen = evaluation.emotion_sheet(stage, load_sound(audio), finder, seed=seed, width=width)
    save_image(out, page)
    grown = {name: {marker: evaluation.grows(row) for marker, row in rows.items()} for name, rows in seen.items()}
    if json:
        typer.echo(
            jsonlib.dumps({"out": str(out), "intensities": [0, *evaluation.INTENSITIES], "seen": seen, "grows": grown})
        )
        return
    for name, rows in seen.items():
        for marker, row in rows.items():
            word = "grows" if grown[name][marker] else "DOES NOT GROW"
            typer.echo(f"{name:10} {marker:14} {' '.join(f'{value:.3f}' for value in row)}  {word}")
    strengths = ", ".join(f"{intensity:g}" for intensity in evaluation.INTENSITIES)
    typer.echo(f"{out}: a column an emotion, intensity {strengths} downwards")


@app.command()
@one_sentence
def swap(
    image: Annotated[Path, typer.Argument(help="Picture with a face.")],
    audio: Annotated[Path, typer.Argument(help="Voice: any sound or film.")],
    clips: Annotated[list[Path], typer.Argument(help="Films (or .npz takes) of people, 6 s or more, one each.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Contact sheet: .png, .jpg or .webp.")] = Path("swap.png"),
    emotion: Annotated[list[str] | None, typer.Option(help="A category; may be given several times.")] = None,
    expression: Annotated[Path | None, typer.Option(help="Folder of face-api.js's weights, to judge drawn faces.")] = None,
    width: Annotated[int, typer.Option(help="Of one picture of the sheet, pixels.")] = 192,
    seed: Annotated[int, typer.Option(help="Same seed, same motion.")] = 0,
    model: Model = "animator-nano",
    tracker: TrackerName = "mien",
    tracker_model: TrackerModel = None,
    judge: Judge = "mediapipe",
    device: Annotated[str, typer.Option(help="Where networks run: auto, cpu, cuda or mps.")] = "auto",
    json: AsJson = False,
) -> None:
    """Manners of several people with several feelings, one voice: who they are like, what they show, on one sheet."""
    from mien import front
    from mien.media import load_sound, save_image
    from mien.portrait.expression import ExpressionJudge
    from mien.portrait.swap import FEELINGS, swap
    from mien.portrait.tracking import load_tracker

    seer = (ExpressionJudge(expression), load_tracker(judge)) if expression is not None else None
    stage = front.Animator(image, tracker=tracker, tracker_model=tracker_model, model=model, device=device)
    people = {clip.stem: front.motion_of(clip, tracker=tracker, tracker_model=tracker_model) for clip in clips}
    page, found = swap(stage, load_sound(audio), people, emotion or FEELINGS, seed=seed, width=width, judge=seer)
    save_image(out, page)
    if json:
        typer.echo(jsonlib.dumps({"out": str(out), **found}))
        return
    for take in found["takes"]:
        drawn = f", drawn {take['emotion_drawn']}" if "emotion_drawn" in take else ""
        typer.echo(f"{take['person']:24} {take['emotion']:10} like {take['style_seen']:24} {take['emotion_seen']}{drawn}")
    shares = ", ".join(f"{name} {value:.2f}" for name, value in found.items() if isinstance(value, float))
    typer.echo(f"{out}: a row a person, a column a feeling; {shares}")


@app.command()
@one_sentence
def readings(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures with a face.")],
    voice: Annotated[Path, typer.Option(help="Voice along which they speak: any sound or film; 5 seconds are enough.")],
    expression: Annotated[Path, typer.Option(help="Folder of weights of face-api.js, which reads the faces.")],
    seed: Annotated[int, typer.Option(help="Same seed, same motion.")] = 0,
    size: Annotated[int, typer.Option(help="Longer side to which pictures are brought, pixels.")] = 512,
    model: Model = "animator-nano",
    tracker: TrackerName = "mien",
    device: Annotated[str, typer.Option(help="Where networks run: auto, cpu, cuda or mps.")] = "auto",
    json: AsJson = False,
) -> None:
    """What another network reads in the faces: every feeling at three strengths, mixtures; what they cost face and lips."""
    from mien import front
    from mien.media import load_sound
    from mien.portrait import readings as read
    from mien.portrait.expression import ExpressionJudge
    from mien.portrait.tracking import load_tracker

    judge = ExpressionJudge(expression)
    stages = [
        front.Animator(picture, crop="face", size=size, tracker=tracker, model=model, device=device) for picture in pictures
    ]
    sums = read.summary(read.readings(stages, load_sound(voice), judge, load_tracker(tracker), seed=seed))
    typer.echo(jsonlib.dumps(sums) if json else read.table(sums))


@app.command()
@one_sentence
def gates(
    audio: Annotated[Path, typer.Argument(help="Voice: any sound or film.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Plot to write: .png, .jpg or .webp.")] = Path("gates.png"),
    style: Annotated[Path | None, typer.Option(help="Clip, take or saved manner whose manner is taken over.")] = None,
    gate: Annotated[list[str] | None, typer.Option(help="Gain on a gate, such as audio.mouth=1.2.")] = None,
    seconds: Annotated[float, typer.Option(help="Longest part of the voice that is shown.")] = 12.0,
    seed: Annotated[int, typer.Option(help="Same seed, same motion.")] = 0,
    model: Model = "animator-nano",
    json: AsJson = False,
) -> None:
    """How far head, eyes, upper face and mouth listen to the voice and to the manner, frame by frame, as a plot."""
    from mien import front
    from mien.media import load_sound, save_image
    from mien.portrait import gates as watching
    from mien.portrait.performer import Performer

    turned = watching.read_gates(gate or [])
    performer = Performer(model)
    heard = performer.hear(load_sound(audio).mono(16000)[: round(16000 * seconds)])
    manner = None if style is None else front.read_manner(style)
    seen = watching.watch(performer, heard, style=manner, seed=seed, gates=turned)
    save_image(out, watching.plot(seen, heard))
    means = dict(zip(watching.NAMES, seen.mean(0).flatten().round(3).tolist(), strict=True))
    if json:
        typer.echo(jsonlib.dumps({"out": str(out), "mean": means, "gates": seen.round(3).tolist()}))
        return
    typer.echo(f"{out}: " + ", ".join(f"{name} {value:.2f}" for name, value in means.items()))


@app.command()
@one_sentence
def gallery(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures with a face.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the sheets, one PNG a picture.")] = Path("gallery"),
    tracker: TrackerName = "mien",
    tracker_model: TrackerModel = None,
) -> None:
    """All that portraits can do on contact sheets at full size: mouths, blinks, gazes, turns, feelings."""
    from mien import front
    from mien.media import load_image, save_image
    from mien.portrait.gallery import gallery as looks

    out.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        try:
            stage = front.Animator(load_image(picture), tracker=tracker, tracker_model=tracker_model)
        except ValueError as error:  # no face, or one too small: the others are still shown
            _news(f"{picture}: left out: {error}")
            continue
        target = out / f"{picture.stem}.png"
        save_image(target, looks(stage.portrait, stage.face))
        _news(str(target))
