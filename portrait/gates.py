"""The gates of the animator: how far each part of the face listens to the voice and to the manner, frame by frame.

They can be watched (`watch`, `plot`), and turned by hand: a gain on the gate of a source and a region, "audio.mouth" or
"style.head", given where a film is made.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import torch

from mien.portrait.animator import GATE_REGIONS, MEMORY

if TYPE_CHECKING:
    from mien.portrait.manner import Manner
    from mien.portrait.performer import Performer
    from mien.portrait.speech import Heard

SOURCES = ("audio", "style")
NAMES = tuple(f"{source}.{region}" for source in SOURCES for region in GATE_REGIONS)
LARGEST = 2.0  # gain; beyond it faces twitch
FRAME, ROW, LEFT = 4, 90, 70  # pixels of the plot: a frame's width, a region's height, the margin for names
COLOURS = {"audio": (200, 90, 20), "style": (30, 90, 170)}


def gains(turned: Mapping[str, float] | None) -> np.ndarray:
    """(2, regions) gains on the gates, 1 where nothing was turned. Raises ValueError for what is no gate or no gain."""
    out = np.ones((len(SOURCES), len(GATE_REGIONS)), np.float32)
    for name, gain in (turned or {}).items():
        if name not in NAMES:
            raise ValueError(f"There is no gate '{name}': choose from {', '.join(NAMES)}.")
        if not 0 <= gain <= LARGEST:
            raise ValueError(f"Gate {name} {gain:g} is out of range: give 0 to {LARGEST:g}, 1 is usual.")
        out.flat[NAMES.index(name)] = gain
    return out


def read_gates(words: list[str]) -> dict[str, float]:
    """Gains as a command gives them, ["audio.mouth=1.3", …]. Raises ValueError for a word that is none."""
    turned = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            turned[name.strip()] = float(value)
        except ValueError:
            raise ValueError(f"A gate is turned by NAME=GAIN, such as audio.mouth=1.3, not by '{word}'.") from None
    gains(turned)
    return turned


def watch(
    performer: "Performer",
    heard: "Heard",
    *,
    style: "Manner | None" = None,
    seed: int = 0,
    gates: Mapping[str, float] | None = None,
) -> np.ndarray:
    """The gates along a take: (T, 2, regions) in [-1, 1] times their gain, mean of all blocks at a window's last step."""
    blocks, seen, rows = performer.model.blocks, [], []
    hooks = [block.register_forward_hook(lambda _, __, out: seen.append(out[1][-1])) for block in blocks]
    try:
        for motion in performer.sampled(heard, style=style, seed=seed, gates=gates):
            rows.append(torch.stack(seen[-len(blocks) :]).mean(0)[MEMORY : MEMORY + len(motion)].cpu().numpy())
            seen.clear()
    finally:
        for hook in hooks:
            hook.remove()
    return np.concatenate(rows)


def plot(gates: np.ndarray, heard: "Heard") -> np.ndarray:
    """A picture (H, W, 3) uint8 of gates (T, 2, regions): a row a region, a line a source, pauses grey, seconds below."""
    frames = len(gates)
    width, height = LEFT + FRAME * frames + 10, ROW * len(GATE_REGIONS) + 24
    page = PIL.Image.new("RGB", (width, height), (255, 255, 255))
    pen, font = PIL.ImageDraw.Draw(page), PIL.ImageFont.load_default(13)
    for frame in np.flatnonzero(heard.silent > 0.5).tolist():
        pen.rectangle((LEFT + FRAME * frame, 0, LEFT + FRAME * (frame + 1), height - 24), fill=(232, 232, 232))
    for row, region in enumerate(GATE_REGIONS):
        base = ROW * row + ROW - 8
        pen.line((LEFT, base, width - 10, base), fill=(150, 150, 150))
        pen.text((6, base - ROW // 2), region, fill=(0, 0, 0), font=font)
        for index, source in enumerate(SOURCES):
            heights = base - (ROW - 16) * gates[:, index, row].clip(-0.1, 1.1)
            points = [(LEFT + FRAME * (n + 0.5), float(y)) for n, y in enumerate(heights)]
            pen.line(points, fill=COLOURS[source], width=2)
    for index, source in enumerate(SOURCES):
        pen.text((6, 4 + 16 * index), source, fill=COLOURS[source], font=font)
    for second in range(frames // 25 + 1):
        pen.text((LEFT + FRAME * 25 * second, height - 20), f"{second} s", fill=(0, 0, 0), font=font)
    return np.array(page)
