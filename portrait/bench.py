"""How fast and how large: the `mien animate` command, run as a user runs it, each time in a process of its own.

Times come from the command's own stages (encoding, which it does on the side, is timed once more by itself), memory
from the operating system: the process's largest resident set.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mien.layers.device import machine
from mien.media import Sound, load_image, load_sound, read_frames, save_image, write_film
from mien.media.sound import save_sound

SIZES = {"256": (256, 256), "512": (512, 512), "1080p": (1920, 1080)}
HEAD = np.s_[:288, 80:368]  # of the shipped portrait: a face that fills 40 % of the height
SPEED_S = 20.0  # length of the film that is timed
ENCODED = 50  # frames whose encoding is timed: 0.3 GB at 1080p
MEMORY_MINUTES = ((512, 1), (512, 10), (128, 60))  # size and minutes
COMMAND = [sys.executable, "-c", "from mien.cli import main; main()", "animate"]


@dataclass(frozen=True)
class Run:
    """One run of the command.

    rtf: seconds from the prepared portrait to the written film, a second of film. first_frame_s: from the start of the
    process, cold. warm_first_frame_s: with Python and the networks there, tracking and preparing included.
    seconds: by stage; some stages run beside others, so they add up to more than the film takes. share: of their sum.
    peak_mb: largest resident set of the process, MB (1e6 bytes).
    """

    size: tuple[int, int]
    duration_s: float
    rtf: float
    first_frame_s: float
    warm_first_frame_s: float
    share: dict[str, float]
    seconds: dict[str, float]
    peak_mb: float


def bench(model: str = "animator-nano", memory: bool = True, news: Callable[[str], None] = print) -> dict[str, Any]:
    """Time the command at `SIZES`, then weigh it at `MEMORY_MINUTES`.

    model: an animator by name or path. memory: whether to weigh, which draws 71 minutes of film. news: gets a line a
    run.
    Returns runs by size, memory by size and minutes, and the machine. Raises ValueError if the command fails.
    """
    assets = Path(str(files("mien"))) / "assets"
    speech = load_sound(assets / "welcome.ogg")
    picture = load_image(assets / "astronaut.jpg")[HEAD]
    out: dict[str, Any] = {"machine": machine(), "speed": {}, "memory": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, size in SIZES.items():
            run = _run(folder, framed(picture, *size), speech, SPEED_S, model)
            out["speed"][label] = asdict(run)
            parts = ", ".join(f"{stage} {part:.0%}" for stage, part in run.share.items())
            first = f"first frame {run.first_frame_s:.1f} s cold, {run.warm_first_frame_s:.1f} s warm"
            news(f"{label}: RTF {run.rtf:.2f} ({parts}), {first}, {run.peak_mb:.0f} MB")
        for side, minutes in MEMORY_MINUTES if memory else ():
            run = _run(folder, framed(picture, side, side), speech, 60.0 * minutes, model)
            out["memory"].append({"size": side, "minutes": minutes, "peak_mb": run.peak_mb, "rtf": run.rtf})
            news(f"{minutes} min at {side}: {run.peak_mb:.0f} MB, RTF {run.rtf:.2f}")
    return out


def framed(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """A square picture at another size; a wider one gets more of the same background left and right."""
    side = min(width, height)
    shrink = cv2.INTER_AREA if side < len(picture) else cv2.INTER_CUBIC
    picture = cv2.resize(picture, (side, side), interpolation=shrink)
    left, top = (width - side) // 2, (height - side) // 2
    return cv2.copyMakeBorder(picture, top, height - side - top, left, width - side - left, cv2.BORDER_REFLECT_101)


def _run(folder: Path, picture: np.ndarray, speech: Sound, duration_s: float, model: str) -> Run:
    """Animate a picture with speech, repeated to a length, in a process of its own."""
    pause = np.zeros((speech.sample_rate // 2, speech.samples.shape[1]), np.float32)
    length = round(duration_s * speech.sample_rate)
    samples = np.resize(np.concatenate([speech.samples, pause]), (length, speech.samples.shape[1]))
    save_image(folder / "face.png", picture)
    save_sound(folder / "voice.flac", Sound(samples, speech.sample_rate))
    names = [str(folder / name) for name in ("face.png", "voice.flac", "out.mp4")]
    command = [*COMMAND, names[0], names[1], "-o", names[2], "--model", model, "--json"]
    facts, wall, peak_mb = _watched(command, folder)
    spent = facts["timings"]
    stages = {
        "hear": spent["hear_s"],
        "motion": spent["motion_s"] - spent["hear_s"],
        "render": spent["render_s"],
        "encode": _encoding(folder / "out.mp4") * facts["frames"],
    }
    return Run(
        size=(picture.shape[1], picture.shape[0]),
        duration_s=facts["duration_s"],
        rtf=facts["rtf"],
        first_frame_s=wall - spent["total_s"] + spent["first_frame_s"],
        warm_first_frame_s=spent["track_s"] + spent["prepare_s"] + spent["first_frame_s"],
        share={name: value / sum(stages.values()) for name, value in stages.items()},
        seconds={**stages, "load": spent["load_s"], "track": spent["track_s"], "prepare": spent["prepare_s"]},
        peak_mb=peak_mb,
    )


def _encoding(film: Path) -> float:
    """Seconds that a frame of a film takes to encode, by itself."""
    frames = list(islice(read_frames(film), ENCODED))
    started = time.perf_counter()
    write_film(film.with_name("again.mp4"), frames, None)
    return (time.perf_counter() - started) / len(frames)


def _watched(command: list[str], folder: Path) -> tuple[dict[str, Any], float, float]:
    """Run a command that prints one JSON object: the object, seconds from start to end, largest resident set in MB."""
    if not hasattr(os, "wait4"):
        raise ValueError("The benchmark reads a process's memory as Unix counts it: run it on Linux or macOS.")
    with (folder / "out.txt").open("w") as out, (folder / "err.txt").open("w") as err:
        started = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        lines = (folder / "err.txt").read_text().strip().splitlines()
        raise ValueError(
            f"mien animate stopped with code {child.returncode}: {lines[-1] if lines else 'without a word'}"
        )
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    facts = json.loads((folder / "out.txt").read_text().strip().splitlines()[-1])
    return facts, wall, usage.ru_maxrss * unit / 1e6
