"""Pictures, sound and film in and out: whatever a user brings becomes plain arrays, and arrays become files.

Pictures are (H, W, 3) uint8 RGB, sound is a `Sound` (float32 in [-1, 1]), films are iterators of pictures at
`FRAME_RATE`: nothing holds a whole film. Files appear when they are whole, or not at all; bad input gets one sentence.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.media.film import FilmFacts, probe, read_frames, write_film
    from mien.media.image import load_image, save_image, sheet
    from mien.media.sound import Sound, load_sound, save_sound

FRAME_RATE = 25  # frames per second of everything; 640 samples of 16 kHz sound a frame

_HOMES = {
    "load_image": "image", "save_image": "image", "sheet": "image",
    "Sound": "sound", "load_sound": "sound", "save_sound": "sound",
    "FilmFacts": "film", "probe": "film", "read_frames": "film", "write_film": "film",
}  # fmt: skip

__all__ = [
    "FRAME_RATE", "FilmFacts", "Sound", "load_image", "load_sound", "probe", "read_frames", "save_image", "save_sound",
    "sheet", "write_film",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import the home of an export when it is first asked for: `import mien.media` loads neither PyAV nor Pillow."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
