"""How fast and how large the codec is: one thread, half a minute of speech, then the same frame by frame."""

import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien.codec.front import FRAME_LENGTH
from mien.codec.model import Codec, load_codec
from mien.codec.vocoder import SAMPLE_RATE
from mien.media import load_sound

DURATION_S = 30.0


def bench(model: str = "codec-16k", duration_s: float = DURATION_S) -> dict[str, Any]:
    """Time a codec, by name or path, on one thread.

    Returns parameters by part; latency_ms that comes from the method; for encode and decode of duration_s of speech `rtf`
    (time over the sound's length), `cpu_rtf` (the same in processor time, which other programs disturb less) and
    `step_ms`, the median and the 99th percentile of a frame of a stream, and its mean in processor time; peak_mb, the
    largest resident set of this process, MB (1e6 bytes), None where the system does not count it.
    """
    torch.set_num_threads(1)
    codec = load_codec(model)
    speech = load_sound(Path(str(files("mien"))) / "assets" / "welcome.ogg").mono(SAMPLE_RATE)
    samples = np.resize(speech, round(duration_s * SAMPLE_RATE / FRAME_LENGTH) * FRAME_LENGTH)
    blocks = samples.reshape(-1, FRAME_LENGTH)
    codec.decode(codec.encode(samples[:SAMPLE_RATE]))  # what is only slow the first time

    tokens, encode = _timed(lambda: codec.encode(samples), duration_s)
    _, decode = _timed(lambda: codec.decode(tokens), duration_s)
    frames, encode["step_ms"] = _stepped(codec.encode_step, blocks, codec.start_encoding())
    frames = [frame for frame in frames if len(frame)]
    _, decode["step_ms"] = _stepped(codec.decode_step, frames, codec.start_decoding())
    return {
        "model": codec.config.name,
        "parameters": _parameters(codec),
        "latency_ms": codec.config.latency_ms,
        "frame_ms": 1000.0 * FRAME_LENGTH / SAMPLE_RATE,
        "duration_s": duration_s,
        "encode": encode,
        "decode": decode,
        "peak_mb": _peak_mb(),
    }


def table(found: dict[str, Any]) -> str:
    """What `bench` found, for people."""
    millions = found["parameters"]["all"] / 1e6
    lines = [f"{found['model']}: {millions:.2f} million parameters, {found['latency_ms']:g} ms latency"]
    for name in ("encode", "decode"):
        part = found[name]
        p50, p99, mean = (part["step_ms"][name] for name in ("p50", "p99", "cpu_mean"))
        steps = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, {mean:.1f} ms of processor time"
        lines.append(
            f"{name}: RTF {part['rtf']:.4f} ({part['cpu_rtf']:.4f} of processor time), "
            f"a frame of {found['frame_ms']:g} ms live: {steps}"
        )
    if found["peak_mb"] is not None:
        lines.append(f"memory: {found['peak_mb']:.0f} MB")
    return "\n".join(lines)


def _timed(work: Callable[[], Any], duration_s: float) -> tuple[Any, dict[str, Any]]:
    wall, processor = time.perf_counter(), time.process_time()
    done = work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return done, {"rtf": wall / duration_s, "cpu_rtf": processor / duration_s}


def _stepped(step: Callable, parts: Any, state: Any) -> tuple[list[Any], dict[str, float]]:
    results, spent, processor = [], [], time.process_time()
    for part in parts:
        started = time.perf_counter()
        result, state = step(part, state)
        spent.append(1000 * (time.perf_counter() - started))
        results.append(result)
    processor = time.process_time() - processor
    p50, p99 = np.percentile(spent, (50, 99))
    return results, {"p50": float(p50), "p99": float(p99), "cpu_mean": 1000 * processor / len(spent)}


def _parameters(codec: Codec) -> dict[str, int]:
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in codec.named_children()}
    return {"all": sum(parts.values()), **parts}


def _peak_mb() -> float | None:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
