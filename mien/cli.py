"""The `mien` command: each verb parses, calls one function, prints."""

import functools
import importlib
import json as jsonlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from mien.portrait.controls import Controls
from mien.tts.voices import DEFAULT

OUT, OUT_SOUND = "mien.mp4", "mien.wav"
LONGEST_TEXT = 20_000_000  # bytes: some twenty long novels


def one_sentence(command: Callable) -> Callable:
    """A user's mistake ends in one sentence and exit code 2, Ctrl-C in exit code 130; only our own faults show a trace."""

    @functools.wraps(command)
    def run(*args, **kwargs):
        try:
            return command(*args, **kwargs)
        except (ValueError, OSError, ModuleNotFoundError) as error:
            typer.echo(f"mien: {error}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("mien: stopped", err=True)
            raise typer.Exit(130) from None

    return run


app = typer.Typer(add_completion=False, no_args_is_help=True, help="A picture, a voice, a feeling: a portrait that speaks.")

Emotion = Annotated[
    str | None, typer.Option(help="'happy', 'happy:0.6+surprised:0.4', '0:calm 2.5:furious', or auto: as text or voice say.")
]
Intensity = Annotated[float, typer.Option(help="Strength of the emotion, 0 to 1.5.")]
Device = Annotated[str, typer.Option(help="Where networks run: auto, cpu, cuda or mps.")]
TrackerName = Annotated[str, typer.Option(help="Who finds faces: mien, mediapipe or face-alignment.")]
TrackerModel = Annotated[Path | None, typer.Option(help="The tracker's weights, if they are not where it looks.")]


VOICE_HELP = "Name (see `mien voices`), or a recording of 3 s or more of somebody who agreed to it."
SPEED_HELP = "Pace: 0.5 (slow) to 2, 1 is the voice's own."
LANGUAGE_HELP = "en; fr, es, it or pt with the extra `espeak`, in an English accent."
ENGINE_HELP = "Who speaks: mien, kokoro (its folder in MIEN_KOKORO), a synthesiser's file or kokoro's folder."
FRAMING, MOVING, SPEAKING = "Picture and film", "What moves it", "What is said"
DIALS, FACES = "Dials", "Face and weights"


def _framing(help: str, *names: str):
    return typer.Option(*names, help=help, rich_help_panel=FRAMING)


def _moving(help: str):
    return typer.Option(help=help, rich_help_panel=MOVING)


def _speaking(help: str):
    return typer.Option(help=help, rich_help_panel=SPEAKING)


def _dial(name: str):
    dial = Controls.dial(name)
    return typer.Option(help=f"{dial.help}, {dial.low:g} to {dial.high:g}.", rich_help_panel=DIALS)


def _finding(help: str):
    return typer.Option(help=help, rich_help_panel=FACES)


@app.command()
@one_sentence
def animate(
    image: Annotated[Path | None, typer.Argument(help="Picture with a face; the shipped astronaut if left out.")] = None,
    audio: Annotated[Path | None, typer.Argument(help="Voice: sound, film or .mc; the shipped welcome if left out.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Film to write: .mp4, .mov, .mkv or .webm.")] = Path(OUT),
    emotion: Emotion = None,
    intensity: Intensity = 1.0,
    seed: Annotated[int, typer.Option(help="Same seed, same film.")] = 0,
    motion: Annotated[Path | None, typer.Option(help="Also write the motion: .npz, .csv (Live Link Face) or .json.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write what mediapipe, an extra, measures (.json, contact sheet beside it).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one object: settings, timings by stage, RTF.")] = False,
    text: Annotated[str | None, _speaking("What to say, with marks; beside an audio its transcript.")] = None,
    voice: Annotated[str | None, _speaking(VOICE_HELP)] = None,
    speed: Annotated[float, _speaking(SPEED_HELP)] = 1.0,
    language: Annotated[str, _speaking(LANGUAGE_HELP)] = "en",
    engine: Annotated[str, _speaking(ENGINE_HELP)] = "mien",
    srt: Annotated[Path | None, _speaking("Also write what is said as subtitles: .srt or .vtt.")] = None,
    background: Annotated[
        str, _framing("keep, blur, a colour such as '#00ff00', a picture's path, or transparent (into .mov or .webm).")
    ] = "keep",
    crop: Annotated[str, _framing("keep, face, portrait, square or 9:16, about the face.")] = "keep",
    size: Annotated[int | None, _framing("Longer side of the film, pixels; the crop's own if left out.")] = None,
    fps: Annotated[int, _framing("Frames a second: 25, 30, 50 or 60.")] = 25,
    driving: Annotated[Path | None, _moving("Film or .npz take to follow instead of a voice.")] = None,
    motion_mode: Annotated[
        str, _moving("With a driving film: relative (about the picture's own pose) or absolute (the film's pose).")
    ] = "relative",
    style: Annotated[Path | None, _moving("Clip of at least 3 s whose manner is taken over.")] = None,
    gaze: Annotated[str, _moving("human (wanders) or camera (holds).")] = "human",
    head: Annotated[float, _dial("head")] = Controls.head,
    yaw: Annotated[float, _dial("yaw")] = Controls.yaw,
    pitch: Annotated[float, _dial("pitch")] = Controls.pitch,
    roll: Annotated[float, _dial("roll")] = Controls.roll,
    yaw_limit: Annotated[float, _dial("yaw_limit")] = Controls.yaw_limit,
    pitch_limit: Annotated[float, _dial("pitch_limit")] = Controls.pitch_limit,
    roll_limit: Annotated[float, _dial("roll_limit")] = Controls.roll_limit,
    gaze_x: Annotated[float, _dial("gaze_x")] = Controls.gaze_x,
    gaze_y: Annotated[float, _dial("gaze_y")] = Controls.gaze_y,
    blink: Annotated[float, _dial("blink")] = Controls.blink,
    brow: Annotated[float, _dial("brow")] = Controls.brow,
    mouth: Annotated[float, _dial("mouth")] = Controls.mouth,
    smile: Annotated[float, _dial("smile")] = Controls.smile,
    gate: Annotated[
        list[str] | None,
        typer.Option(help="Gain on a gate (see `mien portrait gates`), such as audio.mouth=1.2.", rich_help_panel=DIALS),
    ] = None,
    face: Annotated[int | None, _finding("Which face of several, 0 the largest.")] = None,
    landmarks: Annotated[Path | None, _finding("JSON with 478 landmarks, instead of tracking.")] = None,
    tracker: Annotated[str, _finding("Who finds faces: mien, mediapipe or face-alignment.")] = "mien",
    tracker_model: Annotated[Path | None, _finding("The tracker's weights, if they are not where it looks.")] = None,
    model: Annotated[str, _finding("Animator: name of a checkpoint or a file.")] = "animator-nano",
    device: Annotated[str, _finding("Where networks run: auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Make a picture talk: along a voice, or a text. Without arguments: the shipped astronaut says welcome."""
    from mien import front
    from mien.media.files import check_writable
    from mien.media.film import check_alpha
    from mien.portrait.motion import check_take_suffix
    from mien.portrait.tracking import load_tracker

    if image is None:
        image, landmarks = front.ASSETS / "astronaut.jpg", landmarks or front.ASSETS / "astronaut.json"
    if audio is None and driving is None and text is None:
        audio = front.ASSETS / "welcome.ogg"
    for extra in (out, motion, report):
        if extra is not None and not extra.absolute().parent.is_dir():
            raise ValueError(f"The folder of {extra} does not exist: make it first.")
    if srt is not None:
        check_writable(srt, (".srt", ".vtt"))
    if srt is not None and (text is None or audio is not None):
        raise ValueError("--srt writes what --text says: give a text to speak, and no audio.")
    if motion is not None:
        check_take_suffix(motion)
    if report is not None and report.suffix.lower() != ".json":
        raise ValueError(f"A report cannot be written as '{report.suffix}': use .json; its contact sheet is .png.")
    judge = load_tracker("mediapipe") if report is not None else None
    if background == "transparent":
        check_alpha(out)
    controls = Controls(
        head=head, yaw=yaw, pitch=pitch, roll=roll, yaw_limit=yaw_limit, pitch_limit=pitch_limit, roll_limit=roll_limit,
        gaze_x=gaze_x, gaze_y=gaze_y, blink=blink, brow=brow, mouth=mouth, smile=smile,
    )  # fmt: skip
    gates = None
    if gate:
        from mien.portrait.gates import read_gates

        gates = read_gates(gate)
    video = front.animate(
        image, audio, emotion, text=text, voice=voice, speed=speed, language=language, engine=engine, intensity=intensity,
        driving=driving, style=style, gaze=gaze, controls=controls, gates=gates, motion_mode=motion_mode,
        seed=seed, fps=fps,
        background=background, crop=crop, size=size, face=face, landmarks=landmarks, tracker=tracker,
        tracker_model=tracker_model, model=model, device=device,
    )  # fmt: skip
    for warning in video.animator.warnings:
        typer.echo(f"mien: {warning}", err=True)
    with progress_bar(quiet=json) as progress:
        video.save(out, progress)
    if motion is not None:
        video.motion.save(motion)
    if srt is not None and video.speech is not None:
        video.speech.save(srt)
    if report is not None:
        from mien.portrait.evaluation import write_report

        write_report(video.plain(), report, judge)
    facts = video.facts()
    if json:
        typer.echo(jsonlib.dumps({"out": str(out), **facts}))
    else:
        width, height = facts["size"]
        typer.echo(f"{out}: {facts['duration_s']:.1f} s, {width} x {height}, made in {facts['rtf']:.2f} of real time")


@app.command()
@one_sentence
def speak(
    text: Annotated[str | None, typer.Argument(help="What to say, with marks; - reads it from the standard input.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Sound to write: .wav, .flac, .ogg or .mp3.")] = Path(OUT_SOUND),
    file: Annotated[Path | None, typer.Option(help="Text file to read instead.")] = None,
    voice: Annotated[str, typer.Option(help=VOICE_HELP)] = DEFAULT,
    emotion: Emotion = None,
    intensity: Intensity = 1.0,
    speed: Annotated[float, typer.Option(help=SPEED_HELP)] = 1.0,
    language: Annotated[str, typer.Option(help=LANGUAGE_HELP)] = "en",
    seed: Annotated[int, typer.Option(help="Same seed, same sound.")] = 0,
    srt: Annotated[Path | None, typer.Option(help="Also write subtitles: .srt.")] = None,
    vtt: Annotated[Path | None, typer.Option(help="Also write subtitles for the web: .vtt.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one object: words and phones with their times, RTF.")] = False,
    engine: Annotated[str, typer.Option(help=ENGINE_HELP)] = "mien",
) -> None:
    r"""Say a text, of any length, into a sound file.

    Marks: \[pause 0.5] rests, *so* emphasises, \[happy] … \[/happy] sets a feeling.

    A voice from a recording is somebody's own: use it only with their consent, and say that the speech was made.
    """
    from mien.media.files import check_writable
    from mien.media.sound import WRITES
    from mien.tts.speech import load_narrator

    words = _given_text(text, file)
    for path, endings in ((out, WRITES), (srt, [".srt"]), (vtt, [".vtt"])):
        if path is not None:
            check_writable(path, endings)
    narrator = load_narrator(engine)
    with progress_bar(json, "speaking") as progress:
        started = time.perf_counter()
        speech = narrator.write(
            out, words, voice, emotion, intensity=intensity, speed=speed, language=language, seed=seed, progress=progress
        )
        spent = time.perf_counter() - started
    for subtitles in filter(None, (srt, vtt)):
        speech.save(subtitles)
    rtf = spent / speech.duration_s
    if json:
        facts = {"out": str(out), "voice": voice, "engine": engine, "seed": seed, "rtf": round(rtf, 4)}
        typer.echo(jsonlib.dumps(facts | speech.facts()))
    else:
        typer.echo(f"{out}: {speech.duration_s:.1f} s, {len(speech.words)} words, {voice}, made in {rtf:.2f} of real time")


@app.command()
@one_sentence
def voices(json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False) -> None:
    """List the voices that a text can be said with."""
    from dataclasses import asdict

    from mien.tts.voices import VOICES

    if json:
        typer.echo(jsonlib.dumps([asdict(voice) for voice in VOICES]))
        return
    for voice in VOICES:
        made_of = " and ".join(voice.learned_from)
        typer.echo(f"{voice.name:8} {voice.sex:6} {voice.accent:13} {voice.manner:12} learned from {made_of}")
    typer.echo("\nOr a recording of 3 s or more: --voice somebody.wav, with their consent.")


def _given_text(text: str | None, file: Path | None) -> str:
    """What is to be said: an argument, a file's text or what comes in."""
    if (text is None) == (file is None):
        raise ValueError("Give one text: as an argument, as --file, or - for what comes in.")
    if file is not None and not file.is_file():
        raise FileNotFoundError(f"{file} is no file: check the path of the text.")
    if file is None and text != "-":
        return str(text)
    data = file.read_bytes() if file is not None else sys.stdin.buffer.read(LONGEST_TEXT + 1)
    if len(data) > LONGEST_TEXT:
        raise ValueError(f"The text is longer than {LONGEST_TEXT // 1_000_000} MB: give it in parts.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file or 'What comes in'} is no text in UTF-8: save it as plain text in UTF-8.") from None


@app.command()
@one_sentence
def track(
    film: Annotated[Path, typer.Argument(help="Film of one face.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Track (.npz) to write; .csv or .json write ARKit-52 motion.")],
    tracker: TrackerName = "mien",
    tracker_model: TrackerModel = None,
) -> None:
    """Track a film: landmarks, blendshapes and head pose as .npz, or its motion as .csv (Live Link Face) or .json."""
    from mien.media import probe, read_frames
    from mien.portrait.motion import check_take_suffix, load_space
    from mien.portrait.tracking import load_tracker

    check_take_suffix(out)
    total = round(probe(film).duration_s * 25)
    with progress_bar() as progress:

        def counted():
            for done, frame in enumerate(read_frames(film), 1):
                yield frame
                progress(done, max(total, done))

        found = load_tracker(tracker, tracker_model).follow(counted())
    if out.suffix.lower() == ".npz":
        found.save(out)
    else:
        load_space().encode(found).save(out)
    typer.echo(f"{out}: {len(found)} frames, a face in {found.tracked.mean():.0%} of them")


@app.command()
@one_sentence
def style(
    source: Annotated[Path, typer.Argument(help="Film of one face, 3 s or more, or a take (.npz).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Manner (.npz) to write; --style takes it.")],
    tracker: TrackerName = "mien",
    tracker_model: TrackerModel = None,
    json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
) -> None:
    """Keep how somebody moves, whoever it is, in a file of a few kilobytes."""
    from mien import front

    manner = front.read_manner(source, tracker=tracker, tracker_model=tracker_model)
    manner.save(out)
    facts = manner.facts()
    if json:
        typer.echo(jsonlib.dumps({"out": str(out), "bytes": out.stat().st_size, **facts}))
    else:
        told = ", ".join(f"{name} {value:g}" for name, value in facts.items())
        typer.echo(f"{out}: {out.stat().st_size / 1000:.1f} kB of manner ({told})")


@app.command()
@one_sentence
def emotion(
    source: Annotated[str, typer.Argument(help="What somebody says; or a film or a take (.npz) of them.")],
    json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
    tracker: TrackerName = "mien",
    tracker_model: TrackerModel = None,
) -> None:
    """Say what a sentence, or a film's face and voice, express: a mixture or time line that --emotion takes, and its mean
    valence, arousal and dominance."""
    from mien.emotion import Emotion, ontology

    if Path(source).suffix and not source.count(" ") or Path(source).is_file():
        from mien import front

        feelings = front.read_feelings(Path(source), tracker=tracker, tracker_model=tracker_model)
    else:
        feelings = {"text": Emotion.from_text(source)}
    facts = {}
    for part, feeling in feelings.items():
        mean = feeling.dimensions.mean(0).round(2).tolist()
        word = ontology.nearest(np.mean(feeling.weights, 0)).name
        facts[part] = {"emotion": str(feeling), "category": feeling.category, "word": word}
        facts[part] |= dict(zip(("valence", "arousal", "dominance"), mean, strict=True))
    if json:
        typer.echo(jsonlib.dumps(facts.get("text", facts)))
        return
    for part, fact in facts.items():
        told = ", ".join(f"{name} {fact[name]:+.2f}" for name in ("valence", "arousal", "dominance"))
        typer.echo(f"{'' if part == 'text' else part + ': '}{fact['emotion']}  ({fact['word']})\n{told}")


@app.command()
@one_sentence
def models(json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False) -> None:
    """List the weights that came with mien: size, licence, figures."""
    from dataclasses import asdict

    from mien import checkpoints

    entries = checkpoints.index()
    if json:
        typer.echo(jsonlib.dumps([asdict(entry) for entry in entries]))
        return
    for entry in entries:
        figures = ", ".join(f"{name} {value}" for name, value in entry.figures.items())
        typer.echo(f"{entry.name:16} {entry.bytes / 1e6:6.2f} MB  {entry.licence}\n{'':16} {figures}")


@app.command()
@one_sentence
def demo(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.")] = 7860,
    device: Device = "auto",
) -> None:
    """Open the app in a browser: picture, voice and feeling to film."""
    from mien.demo import launch

    launch(host, port, device)


@contextmanager
def progress_bar(quiet: bool = False, label: str = "drawing") -> Iterator[Callable[[float, float], None]]:
    """A bar on the terminal's error stream; yields a function of (done, total)."""
    if quiet:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress, TimeRemainingColumn

    with Progress(
        *Progress.get_default_columns()[:-1], TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(label)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def one_thread() -> None:
    """Keep numeric libraries to one thread: one core makes while another encodes, and more would wait for each other."""
    for library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(library, "1")


def main() -> None:
    """Entry point of the `mien` command: mounts the rooms' own verbs, then runs."""
    one_thread()
    for room in ("codec", "portrait", "tts"):
        app.add_typer(importlib.import_module(f"mien.{room}.cli").app, name=room)
    app()
