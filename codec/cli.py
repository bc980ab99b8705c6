"""`mien codec`: speech to 0.27 - 1.0 kbit/s and back, in files and live; its judges, its speed, its ONNX graphs."""

import json as jsonlib
import os
import sys
import time
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mien.cli import one_sentence, one_thread, progress_bar

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

TIERS = {0.27: 0, 0.52: 1, 0.77: 2, 1.0: 3}  # enhancement tiers by kbit/s

AsJson = Annotated[bool, typer.Option("--json", help="Print one object.")]
Kbps = Annotated[float, typer.Option(help="Rate, kbit/s: 0.27, 0.52, 0.77 or 1.0.")]
Model = Annotated[str, typer.Option(help="Codec: name of a checkpoint or a file.")]
SoundIn = Annotated[Path, typer.Argument(help="Any sound or film.")]
SoundOut = Annotated[Path, typer.Option("-o", "--out", help="Sound to write: .wav, .flac, .ogg or .mp3.")]


@app.command()
@one_sentence
def encode(
    sound: SoundIn,
    out: Annotated[Path, typer.Option("-o", "--out", help="Coded file to write: .mc.")],
    kbps: Kbps = 1.0,
    entropy: Annotated[bool, typer.Option(help="Code what can be guessed in fewer bits, if the codec has tables.")] = True,
    model: Model = "codec-16k",
    json: AsJson = False,
) -> None:
    """Code a recording as 16 kHz mono, in 25 frames a second."""
    from mien.codec import bitstream
    from mien.codec.model import load_codec
    from mien.media import load_sound
    from mien.media.files import written_beside

    tiers = _tiers(kbps)
    with written_beside(out, (".mc",)) as part:
        samples = load_sound(sound).mono(bitstream.SAMPLE_RATE)
        codec = load_codec(model)
        with progress_bar(json, "encoding") as progress:
            started = time.perf_counter()
            tokens = codec.encode(samples, tiers, progress)
        tables = codec.tables if entropy else None
        data = bitstream.write(tokens if tables is None else bitstream.bounded(tokens, tables), tables)
        spent = time.perf_counter() - started
        part.write_bytes(data)
    duration_s = len(samples) / bitstream.SAMPLE_RATE
    facts = {"out": str(out), "duration_s": duration_s, "bytes": len(data)}
    facts |= {"kbps": bitstream.kbps(data, len(samples)), "rtf": spent / duration_s}
    if json:
        typer.echo(jsonlib.dumps(facts))
    else:
        typer.echo(
            f"{out}: {duration_s:.1f} s in {len(data):,} bytes, {facts['kbps']:.3f} kbit/s, "
            f"made in {facts['rtf']:.3f} of real time"
        )


@app.command()
@one_sentence
def decode(
    coded: Annotated[Path, typer.Argument(help="Coded file: .mc.")],
    out: SoundOut,
    rate: Annotated[int, typer.Option(help="Sample rate of the sound, Hz.")] = 16_000,
    damaged: Annotated[str, typer.Option(help="A damaged file: refuse it, or conceal its holes.")] = "refuse",
    model: Model = "codec-16k",
    json: AsJson = False,
) -> None:
    """Make a coded file sound again."""
    from mien.codec import bitstream
    from mien.codec.model import load_codec
    from mien.media import Sound, limits, save_sound

    _check_sound_path(out)
    rate = limits.check_sample_rate(out.name, rate)
    if damaged not in ("refuse", "conceal"):
        raise ValueError(f"'{damaged}' is nothing to do with a damaged file: choose refuse or conceal.")
    codec = load_codec(model)
    reading = codec.open(coded, damaged)
    with progress_bar(json, "decoding") as progress:
        started = time.perf_counter()
        samples = codec.decode(reading.tokens, reading.lost, progress)
        spent = time.perf_counter() - started
    save_sound(out, Sound(samples[:, None], bitstream.SAMPLE_RATE).resampled(rate))
    duration_s = len(samples) / bitstream.SAMPLE_RATE
    rtf = spent / duration_s if duration_s else 0.0
    facts = {"out": str(out), "duration_s": duration_s, "frames": len(reading.lost)}
    facts |= {"frames_lost": int(reading.lost.sum()), "rtf": rtf}
    if json:
        typer.echo(jsonlib.dumps(facts))
    else:
        lost = f", {facts['frames_lost']} of {facts['frames']} frames lost and bridged" if reading.lost.any() else ""
        typer.echo(f"{out}: {duration_s:.1f} s{lost}, made in {rtf:.3f} of real time")


@app.command()
@one_sentence
def stream(
    kbps: Annotated[
        float,
        typer.Option(help="Rate to code at, kbit/s: 0.27, 0.52, 0.77 or 1.0. Packets add to it. Not with --decode."),
    ] = 1.0,
    loss: Annotated[float, typer.Option(help="Share of packets that get lost on the way, in bursts.", min=0, max=0.9)] = 0.0,
    bundle: Annotated[
        int,
        typer.Option(help="Frames in a packet of --encode or --loss: each after the first adds 40 ms.", min=1, max=10),
    ] = 3,
    seed: Annotated[int, typer.Option(help="Of --loss: same seed, same losses.")] = 0,
    encode: Annotated[bool, typer.Option("--encode", help="Write packets instead of sound.")] = False,
    decode: Annotated[bool, typer.Option("--decode", help="Read packets instead of sound.")] = False,
    model: Model = "codec-16k",
) -> None:
    """Code and decode live, 40 ms at a time: raw sound (16 kHz, mono, signed 16 bit, little-endian) in and out.

    Two machines: mien codec stream --encode | ssh far mien codec stream --decode

    In one, as many samples come out as went in; out of packets the sound comes rounded up to whole frames of 40 ms.

    Packets carry checks and what was said before once more at the base rate: of 0.27 kbit/s they make some 0.9, of 1.0
    some 1.7. What was really sent is told at the end.
    """
    from mien.codec import stream as live
    from mien.codec.model import load_codec
    from mien.codec.vocoder import SAMPLE_RATE

    if encode and decode:
        raise ValueError("--encode and --decode are the two ends of a line: leave both out to have it all in one.")
    if loss and (encode or decode):
        raise ValueError("--loss plays a bad network between two ends in one: leave out --encode and --decode.")
    tiers = _tiers(kbps)
    if sys.stdin.isatty():
        raise ValueError("nothing comes in: lead raw sound into this command with | or <.")
    if sys.stdout.isatty():
        raise ValueError("what comes out is not for a terminal: lead it on with | or >.")
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    codec = load_codec(model)
    heard = said = 0
    sent: list[int] = []  # bytes of every packet

    def blocks():
        nonlocal heard
        for block in live.read_pcm(source):
            heard += len(block)
            yield block

    frames = live.read_packets(source, codec) if decode else live.encoded(codec, blocks(), tiers)
    if loss:
        frames = live.lossy(codec, frames, bundle, loss, seed, sent.append)
    try:
        if encode:
            live.write_packets(sink, codec, frames, bundle, sent.append)
        else:
            for samples in live.decoded(codec, frames):
                said += len(samples)
                late = 0 if decode else max(said - heard, 0)  # what filled up the last frame
                sink.write(live.pcm(samples[: len(samples) - late]))
                sink.flush()
        if sent and heard:
            true_kbps = 8 * sum(sent) / (heard / SAMPLE_RATE) / 1000
            typer.echo(f"mien: {len(sent)} packets, {sum(sent):,} bytes, {true_kbps:.2f} kbit/s", err=True)
    except BrokenPipeError:  # whoever listened has gone, which is how a stream ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command()
@one_sentence
def convert(
    sound: SoundIn,
    voice: Annotated[Path, typer.Option(help="Any sound or film of the voice to take on, some seconds of speech.")],
    out: SoundOut,
    kbps: Kbps = 0.27,
    model: Model = "codec-16k",
) -> None:
    """Say what one recording says with the voice of another. Higher rates keep more of the first speaker's."""
    from mien.codec import conversion
    from mien.codec.model import load_codec
    from mien.codec.vocoder import SAMPLE_RATE
    from mien.media import Sound, load_sound, save_sound

    tiers = _tiers(kbps)
    _check_sound_path(out)
    typer.echo(f"mien: {conversion.CONSENT}", err=True)
    samples, other = (load_sound(path).mono(SAMPLE_RATE) for path in (sound, voice))
    converted = conversion.convert(load_codec(model), samples, other, tiers)
    save_sound(out, Sound(converted[:, None], SAMPLE_RATE))
    typer.echo(f"{out}: {len(converted) / SAMPLE_RATE:.1f} s")


@app.command()
@one_sentence
def features(
    sound: SoundIn,
    out: Annotated[Path, typer.Option("-o", "--out", help="Arrays to write: .npz.")],
    model: Model = "codec-16k",
) -> None:
    """What the codec hears, 25 frames a second: semantic features, values of S and G, odds of phones."""
    import numpy as np

    from mien.codec.model import load_codec
    from mien.codec.phones import PHONES
    from mien.codec.vocoder import SAMPLE_RATE
    from mien.media import load_sound
    from mien.media.files import written_beside

    with written_beside(out, (".npz",)) as part:
        found = load_codec(model).features(load_sound(sound).mono(SAMPLE_RATE))
        with part.open("wb") as file:
            np.savez_compressed(file, **asdict(found), posteriors=found.posteriors, phones=np.array(PHONES))
    typer.echo(f"{out}: {len(found.semantic)} frames of " + ", ".join(asdict(found)))


@app.command()
@one_sentence
def bench(
    seconds: Annotated[float, typer.Option(help="Length of the speech that is coded.", min=1)] = 30.0,
    model: Model = "codec-16k",
    json: AsJson = False,
) -> None:
    """Time the codec on one thread: recordings, single frames of a stream; count its memory and parameters."""
    from mien.codec import bench as bench_module
    from mien.layers.device import machine

    found = bench_module.bench(model, seconds) | {"machine": machine()}
    typer.echo(jsonlib.dumps(found) if json else bench_module.table(found))


@app.command("eval")
@one_sentence
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder with a manifest.csv, or with sounds and .txt beside them.")],
    split: Annotated[str, typer.Option(help="Which clips of the manifest: test, val or train.")] = "test",
    corpus: Annotated[list[str] | None, typer.Option(help="Only clips of this corpus; may be given again.")] = None,
    limit: Annotated[int | None, typer.Option(help="Most clips, spread over the speakers; all if left out.", min=1)] = None,
    shortest: Annotated[float, typer.Option(help="Pass over shorter clips, seconds.")] = 0.0,
    longest: Annotated[float, typer.Option(help="Pass over longer clips, seconds.")] = float("inf"),
    kbps: Annotated[list[float] | None, typer.Option(help="Rate to judge; may be given again. 0.27 and 1.0.")] = None,
    peers: Annotated[bool, typer.Option(help="Judge codec2 and Opus, too, where they are installed.")] = True,
    peer: Annotated[
        list[str] | None, typer.Option(help="A codec of transformers, MODEL or MODEL:CODEBOOKS; may be given again.")
    ] = None,
    leave_out: Annotated[list[str] | None, typer.Option(help="A figure not to take; may be given again.")] = None,
    whisper: Annotated[str, typer.Option(help="Whisper of faster-whisper that counts words: name or folder.")] = "tiny.en",
    probes: Annotated[bool, typer.Option(help="Also ask S and G for speaker and feeling (all splits, long).")] = False,
    plot: Annotated[Path | None, typer.Option(help="Also draw quality against rate: .png, .svg or .pdf.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write everything: .json.")] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of clips and the intervals.")] = 0,
    model: Model = "codec-16k",
    json: AsJson = False,
) -> None:
    """Judge the codec and its peers on held-out clips, in one run."""
    from mien.codec import baselines, evaluation
    from mien.codec.metrics import Judge
    from mien.codec.model import load_codec
    from mien.codec.probes import probe_codec

    rates = {rate: _tiers(rate) for rate in kbps or (0.27, 1.0)}
    if out is not None:
        _check_path(out, evaluation.JSON)
    if plot is not None:
        _check_path(plot, evaluation.PLOTS)
        evaluation.check_plot(evaluation.PANELS)
    clips = evaluation.read_clips(folder, split, corpus or (), limit, shortest, longest, seed)
    codec = load_codec(model)
    systems: list[baselines.System] = [
        evaluation.Ours(codec, tiers, str(rate), codec.tables) for rate, tiers in rates.items()
    ]
    notes: list[str] = []
    if peers:
        others, notes = baselines.installed()
        systems += others
    for name in peer or ():
        whose, _, codebooks = name.partition(":")
        if codebooks and not codebooks.isdecimal():
            raise ValueError(f"'{name}' is no codec of transformers: give MODEL or MODEL:CODEBOOKS, such as mimi:8.")
        systems.append(baselines.Peer(whose, int(codebooks or 8)))
    judge = Judge(leave_out or (), whisper)
    if plot is not None:
        evaluation.check_plot(judge.figures(" ".join(clip.text for clip in clips)))
    with progress_bar(json, "judging") as progress:
        found = evaluation.evaluate(systems, clips, judge, notes=notes, seed=seed, progress=progress)
        if probes:
            found["probes"] = probe_codec(
                codec, evaluation.read_clips(folder, None, corpus or ()), seed=seed, progress=progress
            )
    typer.echo(jsonlib.dumps(found) if json else evaluation.table(found))
    if probes and not json:
        typer.echo(jsonlib.dumps(found["probes"], indent=1))
    if out is not None:
        evaluation.write_json(found, out)
    if plot is not None:
        evaluation.plot(found, plot)


@app.command()
@one_sentence
def export(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write into; made if it is not there.")],
    model: Model = "codec-16k",
) -> None:
    """Write both steps of the codec as ONNX, with a description of their states."""
    from mien.codec.export import export as export_graphs
    from mien.codec.model import load_codec

    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name the folder to write into.")
    codec = load_codec(model)
    out.mkdir(parents=True, exist_ok=True)
    about = export_graphs(codec, out)
    typer.echo(f"{out}: {about['encoder_step']['file']}, {about['decoder_step']['file']}, codec.json")


def _tiers(kbps: float) -> int:
    if kbps not in TIERS:
        raise ValueError(f"there is no rate of {kbps:g} kbit/s: choose {', '.join(map(str, TIERS))}.")
    return TIERS[kbps]


def _check_sound_path(out: Path) -> None:
    from mien.media.sound import WRITES

    _check_path(out, WRITES)


def _check_path(out: Path, endings: Collection[str]) -> None:
    """Refuse before the work what could not be written after it."""
    if out.suffix.lower() not in endings:
        raise ValueError(f"{out.name} cannot be written as '{out.suffix}': use {' or '.join(endings)}.")
    if out.is_dir():
        raise ValueError(f"{out} is a folder: give the name of the file to write.")
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"The folder of {out} does not exist: make it first.")


def main() -> None:
    """Entry point of `python -m mien.codec`."""
    one_thread()
    app(prog_name="python -m mien.codec")
