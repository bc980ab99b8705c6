"""How large a picture, a sound or a film may be, and the one sentence each limit says.

The limits keep a mistaken or hostile file from filling memory or hours; they are checked before anything is decoded.
"""

MIN_SIDE = 16  # pixels; nothing smaller can show a face
MAX_PIXELS = 50_000_000  # of a picture or of a film's frame; 4k has 8.3 million
MAX_PICTURE_BYTES = 256 * 2**20
MAX_DURATION_S = 2 * 3600.0  # of a sound or a film
MAX_MEDIA_BYTES = 8 * 2**30  # of a sound's or a film's file
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 384_000  # Hz


def check_pixels(name: str, width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse a picture of too few or too many pixels with a ValueError. name: what the sentence calls it."""
    if min(width, height) < MIN_SIDE:
        raise ValueError(
            f"{name} has {width} x {height} pixels, each side needs at least {MIN_SIDE}: give a larger picture."
        )
    if width * height > max_pixels:
        raise ValueError(
            f"{name} has {width} x {height} = {width * height / 1e6:.1f} megapixels, "
            f"at most {max_pixels / 1e6:g} are taken: make it smaller first."
        )


def check_duration(name: str, duration_s: float, max_duration_s: float = MAX_DURATION_S) -> None:
    """Refuse a sound or film that lasts too long with a ValueError."""
    if duration_s > max_duration_s:
        raise ValueError(
            f"{name} lasts {duration_s / 60:.1f} minutes, at most {max_duration_s / 60:g} are taken: cut it into parts."
        )


def check_bytes(name: str, size: int, max_bytes: int) -> None:
    """Refuse an empty file and one of too many bytes with a ValueError."""
    if size == 0:
        raise ValueError(f"{name} is an empty file: give one that was saved completely.")
    if size > max_bytes:
        raise ValueError(
            f"{name} has {size / 2**20:.0f} MB, at most {max_bytes / 2**20:.0f} are taken: make it smaller first."
        )


def check_sample_rate(name: str, sample_rate: float) -> int:
    """The sample rate as a whole number of Hz; a ValueError if it cannot be one."""
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE or sample_rate != int(sample_rate):
        raise ValueError(
            f"{name} has a sample rate of {sample_rate} Hz, whole numbers from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} "
            "are taken: give the rate it was recorded at."
        )
    return int(sample_rate)
