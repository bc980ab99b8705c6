"""`python -m mien.training`: prepare data, fit the motion space, train the networks."""

import json
from dataclasses import fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from mien.cli import one_sentence

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

Shards = Annotated[Path, typer.Option(help="Folder of prepared shards.")]
CONFIGS = Path(__file__).parent / "configs"


def read_config(name: str, **sections: type) -> dict[str, Any]:
    """A YAML by name or path as one dataclass per section; unknown sections and keys are refused by name."""
    path = Path(name) if name.endswith(".yaml") else CONFIGS / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
        raise FileNotFoundError(f"There is no config '{name}': give a .yaml file or one of {known}.")
    content = yaml.safe_load(path.read_text()) or {}
    if unknown := set(content) - set(sections):
        raise ValueError(
            f"{path.name} has unknown section(s) {', '.join(sorted(unknown))}; known are {', '.join(sections)}."
        )
    out = {}
    for section, kind in sections.items():
        values = content.get(section) or {}
        if unknown := set(values) - {f.name for f in fields(kind)}:
            known = ", ".join(f.name for f in fields(kind))
            raise ValueError(f"{path.name}, {section}: unknown key(s) {', '.join(sorted(unknown))}; known are {known}.")
        try:
            default = kind()
            for name, value in values.items():  # a dictionary changes what it names and leaves the rest
                if isinstance(value, dict) and isinstance(getattr(default, name), dict):
                    if unknown := set(value) - set(getattr(default, name)):
                        known = ", ".join(getattr(default, name))
                        raise TypeError(f"unknown key(s) {', '.join(sorted(unknown))} in {name}; known are {known}")
                    values = values | {name: getattr(default, name) | value}
            out[section] = kind(**values)
        except TypeError as error:
            raise ValueError(f"{path.name}, {section}: {error}.") from None
    return out


@app.command()
@one_sentence
def prepare(
    data: Annotated[list[Path], typer.Option(help="Folder with a manifest.csv; may be given several times.")],
    out: Annotated[Path, typer.Option(help="Where shards go; a stopped run goes on from them.")] = Path("shards"),
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Track films and pictures into shards. The manifest's columns are told in `mien/training/prepare.py`."""
    from mien.training.prepare import prepare as run

    for news in run(data, out, workers):
        typer.echo(news)


@app.command("fit-motion")
@one_sentence
def fit_motion(
    shards: Shards = Path("shards"),
    out: Annotated[Path, typer.Option(help="Checkpoint to write.")] = Path("motion.safetensors"),
) -> None:
    """Fit the motion space on the training clips, print its error on the held-out ones."""
    import torch

    from mien import checkpoints
    from mien.training import motion_space
    from mien.training.prepare import read_clips

    clips = read_clips(shards)
    films = motion_space.load_tracks(shards / c.track for c in clips if c.split == "train")
    stills = motion_space.load_tracks(sorted((shards / "stills").glob("*.npz")))
    space = motion_space.fit(films, stills)
    checkpoints.save(out, {name: torch.from_numpy(value) for name, value in space.__dict__.items()}, {"kind": "motion"})
    for split in ("train", "val", "test"):
        held = motion_space.load_tracks(shards / c.track for c in clips if c.split == split)
        typer.echo(f"{split}: {json.dumps(motion_space.reconstruction_error(space, held))}")


@app.command()
@one_sentence
def animator(
    config: Annotated[str, typer.Option(help="Name of a config, or a .yaml file.")] = "nano",
    shards: Shards = Path("shards"),
    out: Annotated[Path, typer.Option(help="Folder of the run; goes on if it holds one.")] = Path("runs/animator"),
    init: Annotated[str | None, typer.Option(help="Checkpoint to start from (name or path).")] = None,
    steps: Annotated[int | None, typer.Option(help="Overrides the config's number of updates.")] = None,
) -> None:
    """Train the motion DiT. On several GPUs: `accelerate launch -m mien.training animator …`."""
    from mien.portrait.animator import AnimatorConfig
    from mien.training.animator import AnimatorTask, AnimatorTraining
    from mien.training.loop import LoopConfig, train

    parts = read_config(config, model=AnimatorConfig, training=AnimatorTraining, loop=LoopConfig)
    loop: LoopConfig = replace(parts["loop"], steps=steps) if steps else parts["loop"]
    task = AnimatorTask(parts["model"], parts["training"], shards, init)
    typer.echo(f"{sum(p.numel() for p in task.model.parameters()) / 1e6:.2f} M parameters, {len(task.train_clips)} clips")
    typer.echo(json.dumps(train(task, loop, out)))


@app.command()
@one_sentence
def lips(
    shards: Shards = Path("shards"),
    out: Annotated[Path, typer.Option(help="Folder of the run; goes on if it holds one.")] = Path("runs/lips"),
    audio: Annotated[str, typer.Option(help="Speech features of the animator that it is to teach.")] = "codec",
    steps: Annotated[int, typer.Option(help="Updates.")] = 600,
) -> None:
    """Train the lip expert, by which the animator's training hears whether lips go with their sound."""
    from mien.portrait.motion import load_space
    from mien.portrait.speech import TOLD
    from mien.training.animator import build_shard
    from mien.training.lips import LipTask, LipTraining
    from mien.training.loop import LoopConfig, train

    shard = build_shard(shards, audio, load_space())
    task = LipTask(LipTraining(), shard, TOLD if audio == "codec" else shard.audio.shape[-1])
    loop = LoopConfig(steps, batch=32, lr=1e-3, weight_decay=0.05, ema=0.99, evaluate_every=100, save_every=100, threads=1)
    typer.echo(json.dumps(train(task, loop, out)))


@app.command("prepare-speech")
@one_sentence
def prepare_speech(
    data: Annotated[list[Path], typer.Option(help="Folder of speech with a manifest; may be given several times.")],
    out: Annotated[Path, typer.Option(help="Where shards go.")] = Path("speech-shards"),
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Turn recordings and teacher speech into shards for the speech front; only freely licensed rows are taken."""
    from mien.training.speech import prepare as run

    for news in run(data, out, workers):
        typer.echo(news)


@app.command("hear-speech")
@one_sentence
def hear_speech(
    encoder: Annotated[str, typer.Option(help="Whisper, wav2vec 2.0 …: folder that transformers wrote, or cached name.")],
    shards: Annotated[Path, typer.Option(help="Folder that prepare-speech wrote.")] = Path("speech-shards"),
    layer: Annotated[int, typer.Option(help="Which of its layers speaks; -1 the last.")] = -1,
) -> None:
    """Write down what a big speech encoder hears in prepared speech: a second teacher of what the codec calls S."""
    from mien.codec.pretrained import load_speech_encoder
    from mien.training.speech import hear

    for news in hear(shards, load_speech_encoder(encoder, layer)):
        typer.echo(news)


@app.command("prepare-teacher")
@one_sentence
def prepare_teacher(
    out: Annotated[Path, typer.Option(help="Folder for the speech; goes on if it holds some.")],
    voice_dir: Annotated[Path, typer.Option(help="Folder of the teacher's voices (*.bin).")],
    texts: Annotated[list[Path], typer.Option(help="File with a sentence a line; may be given several times.")],
    voices: Annotated[str, typer.Option(help="Names with commas between, or mix:a for fresh blends.")] = "af_heart",
    hours: Annotated[float, typer.Option(help="How much speech there shall be.")] = 1.0,
    shard: Annotated[str, typer.Option(help="k/n: the k-th of n processes that share the work.")] = "0/1",
    seed: Annotated[int, typer.Option(help="Same seed, same speech.")] = 0,
) -> None:
    """Make speech with exact phone times by a teacher voice (Kokoro-82M, Apache-2.0)."""
    from mien.cli import progress_bar
    from mien.training.teacher import make

    k, _, n = shard.partition("/")
    if not (k.isdigit() and n.isdigit() and int(k) < int(n)):
        raise ValueError(f"'{shard}' is no share of the work: give k/n, for example 0/2 and 1/2 for two processes.")
    with progress_bar() as progress:
        make(out, voice_dir, texts, voices, hours, shard=(int(k), int(n)), seed=seed, progress=progress)


@app.command()
@one_sentence
def front(
    config: Annotated[str, typer.Option(help="Name of a config, or a .yaml file.")] = "front",
    shards: Annotated[Path, typer.Option(help="Folder that prepare-speech wrote.")] = Path("speech-shards"),
    out: Annotated[Path, typer.Option(help="Folder of the run; goes on if it holds one.")] = Path("runs/front"),
) -> None:
    """Train the speech front, the small causal phone recogniser."""
    from mien.codec.front import FrontConfig
    from mien.training.front import FrontTask, FrontTraining
    from mien.training.loop import LoopConfig, train
    from mien.training.speech import Augmentation

    parts = read_config(config, model=FrontConfig, training=FrontTraining, augmentation=Augmentation, loop=LoopConfig)
    task = FrontTask(parts["model"], parts["training"], parts["augmentation"], shards)
    typer.echo(json.dumps(train(task, parts["loop"], out)))


@app.command()
@one_sentence
def reading(
    shards: Annotated[Path, typer.Option(help="Folder that prepare-speech wrote.")] = Path("speech-shards"),
    out: Annotated[Path, typer.Option(help="Folder of the run; goes on if it holds one.")] = Path("runs/reading"),
    codec: Annotated[str, typer.Option(help="Codec whose tokens are read (name or path).")] = "codec-16k",
    steps: Annotated[int, typer.Option(help="Updates.")] = 1200,
) -> None:
    """Train the reader of coded speech: phones from tokens, as a portrait needs them."""
    from mien.codec.model import load_codec
    from mien.training.loop import LoopConfig, train
    from mien.training.reading import ReadingTask, ReadingTraining, code_speech

    training, model = ReadingTraining(), load_codec(codec)
    task = ReadingTask(training, code_speech(shards, model, training.hours, typer.echo), model.config.name)
    loop = LoopConfig(
        steps, batch=16, lr=2e-3, warmup=50, final_lr=0.02, weight_decay=0.02, ema=0.99, evaluate_every=200, save_every=200,
        threads=1,
    )  # fmt: skip
    typer.echo(json.dumps(train(task, loop, out)))


@app.command("prepare-tracker")
@one_sentence
def prepare_tracker(
    faces: Annotated[Path, typer.Option(help="Folder of face tars with a manifest.csv.gz.")],
    films: Annotated[list[Path], typer.Option(help="Folder of films with a manifest.csv; may be given several times.")],
    tracks: Annotated[Path, typer.Option(help="Folder into which `prepare` tracked these films.")] = Path("shards"),
    out: Annotated[Path, typer.Option(help="Where shards go.")] = Path("tracker-shards"),
) -> None:
    """Label stills and frames by the teacher, MediaPipe, for our own face tracker."""
    from mien.training.faces import prepare as run

    for news in run(faces, films, tracks, out):
        typer.echo(news)


@app.command()
@one_sentence
def tracker(
    config: Annotated[str, typer.Option(help="Name of a config, or a .yaml file.")] = "tracker",
    shards: Annotated[Path, typer.Option(help="Folder that prepare-tracker wrote.")] = Path("tracker-shards"),
    out: Annotated[Path, typer.Option(help="Folder of the run; goes on if it holds one.")] = Path("runs/tracker"),
) -> None:
    """Train our own face tracker: the detector, and the networks of face, eyes and mouth."""
    from mien.portrait.tracking.network import TrackerConfig
    from mien.training.loop import LoopConfig, train
    from mien.training.tracker import TrackerTask, TrackerTraining

    parts = read_config(config, model=TrackerConfig, training=TrackerTraining, loop=LoopConfig)
    task = TrackerTask(parts["model"], parts["training"], shards)
    typer.echo(
        f"{sum(p.numel() for p in task.model.parameters()) / 1e6:.2f} M parameters, {len(task.samples)} faces to learn from"
    )
    typer.echo(json.dumps(train(task, parts["loop"], out)))


@app.command("tracker-eval")
@one_sentence
def tracker_eval(
    faces: Annotated[Path, typer.Option(help="Folder of face tars with a manifest.csv.gz.")],
    split: Annotated[str, typer.Option(help="val or test.")] = "val",
    model: Annotated[str, typer.Option(help="Tracker: name of a checkpoint or a file.")] = "tracker",
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
) -> None:
    """Our face tracker beside its teacher on held-out people, by group, with detection and speed."""
    from mien.portrait.tracking.mien import MienTracker
    from mien.training.tracker_eval import evaluate, table

    found = evaluate(faces, split, MienTracker(model), lambda line: typer.echo(line, err=True))
    typer.echo(json.dumps(found) if as_json else table(found))


class Stage(StrEnum):
    """A stage of the codec's training, or all of them in their order."""

    ALL = "all"
    VOCODER = "vocoder"
    CODEC = "codec"
    JOINT = "joint"
    DECODER = "decoder"
    TABLES = "tables"


@app.command()
@one_sentence
def codec(
    config: Annotated[str, typer.Option(help="base, nano, or a .yaml file.")] = "base",
    shards: Annotated[Path, typer.Option(help="Folder that prepare-speech wrote.")] = Path("speech-shards"),
    out: Annotated[Path, typer.Option(help="Folder of the runs, one a stage; goes on from them.")] = Path("runs/codec"),
    stage: Annotated[Stage, typer.Option(help="Which stage to train.")] = Stage.ALL,
    front: Annotated[str, typer.Option(help="Speech front whose trunk the semantic encoder begins as.")] = "front",
    recogniser: Annotated[str | None, typer.Option(help="Whisper that listens along: folder or cached name.")] = None,
    init: Annotated[str | None, typer.Option(help="Codec (name or path) whose decoder is trained on.")] = None,
) -> None:
    """Train the speech codec: the vocoder, the tokens, both at once, the decoder on frozen tokens; then count tables."""
    from mien import checkpoints
    from mien.codec.model import CodecConfig, build_codec, save_codec
    from mien.training import codec as tasks
    from mien.training.loop import LoopConfig, train
    from mien.training.speech import Augmentation

    if init and stage not in (Stage.DECODER, Stage.TABLES):
        raise ValueError("--init is a codec to go on from: say --stage decoder or --stage tables with it.")
    loops = {f"{name}_loop": LoopConfig for name in list(Stage)[1:-1]}
    parts = read_config(
        config if config.endswith(".yaml") else f"codec-{config}", model=CodecConfig, augmentation=Augmentation,
        vocoder=tasks.VocoderTraining, codec=tasks.CodecTraining, joint=tasks.CodecTraining, decoder=tasks.DecoderTraining,
        **loops,
    )  # fmt: skip
    model, augmentation = parts["model"], parts["augmentation"]
    vocoder = out / "vocoder" / "best.safetensors"
    for name in list(Stage)[1:] if stage is Stage.ALL else (stage,):
        if name is Stage.VOCODER:
            task = tasks.VocoderTask(model.vocoder, parts["vocoder"], augmentation, shards)
        elif name in (Stage.CODEC, Stage.JOINT):
            task = tasks.CodecTask(model, parts[name], augmentation, shards, vocoder, front, recogniser)
            if name is Stage.CODEC:
                task.warm_start()
            else:
                task.go_on(out / "codec")
        elif name is Stage.DECODER:
            network = build_codec(checkpoints.load(init or out / "joint" / "best.safetensors"))
            task = tasks.DecoderTask(network, parts["decoder"], augmentation, shards, front, recogniser)
        else:
            done = next(run for run in (out / "decoder", out / "joint") if init or (run / "best.safetensors").is_file())
            network = build_codec(checkpoints.load(init or done / "best.safetensors"))
            save_codec(tasks.with_tables(network, shards), out / f"{network.config.name}.safetensors")
            typer.echo(f"{out / network.config.name}.safetensors is ready, with tables for entropy coding")
            continue
        learning = sum(p.numel() for p in task.model.parameters() if p.requires_grad)
        typer.echo(f"{name}: {learning / 1e6:.2f} M parameters learn from {len(task.clips)} recordings")
        typer.echo(json.dumps(train(task, parts[f"{name}_loop"], out / name)))


@app.command("measure-feeling")
@one_sentence
def measure_feeling(
    data: Annotated[Path, typer.Option(help="Folder of speech whose manifest.csv lists acted corpora.")],
    split: Annotated[str, typer.Option(help="Whose takes: those of train, val or test actors.")] = "train",
) -> None:
    """Measure what feelings do to voices: acted takes beside the same actors' neutral ones."""
    from mien.cli import progress_bar
    from mien.training.feeling import compare

    with progress_bar(label="hearing") as progress:
        changes = compare(data, progress, split)
    for name, change in changes.items():
        typer.echo(f"{name}: {json.dumps(change)}")


@app.command("prepare-tts")
@one_sentence
def prepare_tts(
    data: Annotated[list[Path], typer.Option(help="Folder of teacher speech with its list; may be given several times.")],
    codec: Annotated[str, typer.Option(help="Codec whose tokens are to be spoken (name or path).")] = "codec-16k",
    out: Annotated[Path, typer.Option(help="Where shards go; a stopped run goes on from them.")] = Path("tts-shards"),
) -> None:
    """Turn English teacher speech into scores, tokens and acoustic frames for the synthesiser."""
    from mien.training.tts import prepare as run

    for news in run(data, out, codec):
        typer.echo(news)


@app.command()
@one_sentence
def tts(
    config: Annotated[str, typer.Option(help="Name of a config, or a .yaml file.")] = "tts-nano",
    shards: Annotated[Path, typer.Option(help="Folder that prepare-tts wrote.")] = Path("tts-shards"),
    out: Annotated[Path, typer.Option(help="Folder of the run; goes on if it holds one.")] = Path("runs/tts"),
) -> None:
    """Train the synthesiser: scores, voices and feelings to tokens and sound."""
    from mien.training.loop import LoopConfig, train
    from mien.training.tts import TtsTask, TtsTraining
    from mien.tts.model import SynthesiserConfig

    parts = read_config(config, model=SynthesiserConfig, training=TtsTraining, loop=LoopConfig)
    task = TtsTask(parts["model"], parts["training"], shards)
    size = sum(p.numel() for p in task.model.parameters()) / 1e6
    typer.echo(f"{size:.2f} M parameters learn from {len(task.readings)} recordings of {len(task.voices)} voices")
    typer.echo(json.dumps(train(task, parts["loop"], out)))


@app.command()
@one_sentence
def emotion(
    data: Annotated[Path, typer.Option(help="Folder of speech whose manifest.csv lists acted corpora.")],
    codec: Annotated[str, typer.Option(help="Codec whose features are read (name or path).")] = "codec-16k",
    out: Annotated[Path, typer.Option(help="Folder for the reader and its report.")] = Path("runs/emotion"),
) -> None:
    """Train the emotion reader on acted speech; its weights are not free for every use, as that speech is not."""
    from mien.cli import progress_bar
    from mien.codec.model import load_codec
    from mien.training import emotion as task

    model = load_codec(codec)
    with progress_bar(label="hearing") as progress:
        clips = task.load_clips(data, model, progress)
    reader = task.fit([clip for clip in clips if clip.split == "train"], model.config.name)
    out.mkdir(parents=True, exist_ok=True)
    task.save(reader, out / "codec-emotion.safetensors")
    report = {split: task.evaluate(reader, [clip for clip in clips if clip.split == split]) for split in ("val", "test")}
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for split, corpora in report.items():
        for corpus, figures in corpora.items():
            typer.echo(f"{split} {corpus}: {json.dumps({k: v for k, v in figures.items() if k != 'confusion'})}")
            if "confusion" in figures:
                typer.echo(task.table_of(figures["confusion"]))


@app.command()
@one_sentence
def sync(
    config: Annotated[str, typer.Option(help="Name of a config, or a .yaml file.")] = "sync",
    shards: Shards = Path("shards"),
    out: Annotated[Path, typer.Option(help="Folder of the run; goes on if it holds one.")] = Path("runs/sync"),
) -> None:
    """Train the judge of lip sync."""
    from mien.portrait.sync import SyncConfig
    from mien.training.loop import LoopConfig, train
    from mien.training.sync import SyncTask, SyncTraining

    parts = read_config(config, model=SyncConfig, training=SyncTraining, loop=LoopConfig)
    task = SyncTask(parts["model"], parts["training"], shards)
    typer.echo(json.dumps(train(task, parts["loop"], out)))


@app.command()
@one_sentence
def lifting(
    config: Annotated[str, typer.Option(help="Name of a config, or a .yaml file.")] = "lifting",
    shards: Shards = Path("shards"),
    out: Annotated[Path, typer.Option(help="Folder of the run; goes on if it holds one.")] = Path("runs/lifting"),
    report: Annotated[str | None, typer.Option(help="Also judge the best on a split: val, or test, once.")] = None,
) -> None:
    """Train the motion reader: manner and feeling of a face in motion."""
    from mien.emotion.lifting import LiftingConfig
    from mien.training.lifting import LiftingTask, LiftingTraining
    from mien.training.loop import LoopConfig, train

    parts = read_config(config, model=LiftingConfig, training=LiftingTraining, loop=LoopConfig)
    task = LiftingTask(parts["model"], parts["training"], shards)
    typer.echo(json.dumps(train(task, parts["loop"], out)))
    if report is not None:
        typer.echo(json.dumps(task.report(out / "best.safetensors", report)))


@app.command("prepare-matte")
@one_sentence
def prepare_matte(
    faces: Annotated[Path, typer.Option(help="Folder of stills in tars with a manifest.csv.gz.")],
    films: Annotated[Path, typer.Option(help="Folder of films with a manifest.csv.")],
    portraits: Annotated[Path, typer.Option(help="Folder of pictures (*.jpg) that show more than a head.")],
    teacher: Annotated[Path, typer.Option(help="selfie_segmentation.tflite of npm @mediapipe/selfie_segmentation.")],
    out: Annotated[Path, typer.Option(help="Where the labelled pictures go.")] = Path("matte-shards"),
) -> None:
    """Label pictures of people with a teacher's matte (MediaPipe's selfie segmentation, Apache-2.0)."""
    from mien.training.matte import prepare as run

    for news in run(faces, films, portraits, teacher, out):
        typer.echo(news)


@app.command()
@one_sentence
def matte(
    config: Annotated[str, typer.Option(help="Name of a config, or a .yaml file.")] = "matte",
    shards: Annotated[Path, typer.Option(help="Folder that prepare-matte wrote.")] = Path("matte-shards"),
    out: Annotated[Path, typer.Option(help="Folder of the run; goes on if it holds one.")] = Path("runs/matte"),
) -> None:
    """Train the matte: who is in a picture."""
    from mien.portrait.matte import MatteConfig
    from mien.training.loop import LoopConfig, train
    from mien.training.matte import MatteTask, MatteTraining

    parts = read_config(config, model=MatteConfig, training=MatteTraining, loop=LoopConfig)
    task = MatteTask(parts["model"], parts["training"], shards)
    typer.echo(json.dumps(train(task, parts["loop"], out)))


if __name__ == "__main__":
    app()
