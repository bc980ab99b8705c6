"""Pictures in and out: whatever holds a picture becomes (H, W, 3) uint8 RGB, upright, opaque, in sRGB."""

import io
import os
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageDraw
import PIL.ImageFont
import PIL.ImageOps

from mien.media import limits
from mien.media.container import open_picture, what_it_is
from mien.media.files import open_source, source_name, written_beside

WHITE = (255, 255, 255)
WRITES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def load_image(
    source: Any, max_pixels: int = limits.MAX_PIXELS, background: tuple[int, int, int] = WHITE
) -> np.ndarray:
    """Any picture as (H, W, 3) uint8 RGB.

    source: a path, the bytes of a file, a PIL image, a numpy array (H, W[, 1 | 3 | 4]) or a torch tensor (C, H, W) or
        (H, W, C); arrays are uint8, uint16 or float in [0, 1]. Of an animation the first frame is taken.
    background: the colour under what is transparent.
    Raises FileNotFoundError or ValueError with one sentence.
    """
    if isinstance(source, str | os.PathLike | bytes):
        image, name = _open(source, max_pixels), source_name(source, "picture")
    elif isinstance(source, PIL.Image.Image):
        image, name = source, "the picture"
    else:
        return _from_array(source, max_pixels, background)
    limits.check_pixels(name, *image.size, max_pixels)
    try:
        return np.array(_upright_rgb(image, background, name))
    except (OSError, SyntaxError, EOFError, MemoryError) as error:
        raise ValueError(f"{name} cannot be decoded ({error}): it seems to be damaged or cut short.") from error


def save_image(path: str | os.PathLike, image: Any) -> None:
    """Write a picture (whatever `load_image` takes) as PNG, JPEG or WebP, by the path's ending."""
    picture = PIL.Image.fromarray(load_image(image))
    with written_beside(path, WRITES) as part:
        kind = WRITES[os.path.splitext(path)[1].lower()]
        picture.save(part, format=kind, **({} if kind == "PNG" else {"quality": 95}))


def sheet(images: Iterable[Any], columns: int, width: int = 256, labels: Sequence[str] | None = None) -> np.ndarray:
    """Pictures side by side as one: a contact sheet.

    images: whatever `load_image` takes. columns: pictures in a row. width: of one picture in the sheet, pixels.
    labels: a short text in each picture's upper left corner.
    Returns (H, W, 3) uint8; places without a picture are white.
    """
    tiles = []
    for image in images:
        tile = PIL.Image.fromarray(load_image(image))
        size = (width, max(1, round(tile.height * width / tile.width)))
        tiles.append(tile.resize(size, PIL.Image.Resampling.LANCZOS))
    if not tiles:
        raise ValueError("a contact sheet of no pictures was asked for: give at least one.")
    height, columns = max(tile.height for tile in tiles), min(columns, len(tiles))
    page = PIL.Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), WHITE)
    pen, font = PIL.ImageDraw.Draw(page), PIL.ImageFont.load_default(max(10, width // 18))
    for i, tile in enumerate(tiles):
        place = (i % columns * width, i // columns * height)
        page.paste(tile, place)
        if labels is not None and i < len(labels):
            corner = (place[0] + 4, place[1] + 3)
            pen.text(corner, labels[i], fill=WHITE, font=font, stroke_width=2, stroke_fill=(0, 0, 0))
    return np.array(page)


def _open(source: str | os.PathLike | bytes, max_pixels: int) -> PIL.Image.Image:
    """Read a file's header only; Pillow decodes later, when the size has been checked."""
    name = source_name(source, "picture")
    file = open_source(source, "picture", limits.MAX_PICTURE_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # our own limit is lower and says more
            return open_picture(file)
    except PIL.Image.DecompressionBombError as error:
        raise ValueError(f"{name} is too large ({error}): make it smaller first.") from error
    except PIL.UnidentifiedImageError:
        raise ValueError(_no_picture(name, file)) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{name} cannot be decoded ({error}): it seems to be damaged or cut short.") from error


def _no_picture(name: str, file: Any) -> str:
    head = file.getvalue()[:12] if isinstance(file, io.BytesIO) else file.open("rb").read(12)
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"hevc"):
        return f"{name} is a HEIC picture, which is not read here: save it as JPEG or PNG."
    kind = what_it_is(file)
    if kind == "sound":
        return f"{name} is a sound, not a picture: give it as the audio."
    if kind == "film":
        return f"{name} is a film, not a picture: give it as the driving film, or save one of its frames as PNG."
    return f"{name} is no picture that can be read: give a JPEG, PNG or WebP file."


def _upright_rgb(image: PIL.Image.Image, background: tuple[int, int, int], name: str) -> PIL.Image.Image:
    """The first frame turned as its EXIF tag says, laid on the background, in sRGB."""
    image.seek(0)
    profile = image.info.get("icc_profile")
    image = PIL.ImageOps.exif_transpose(image)
    if image.mode == "F":
        return PIL.Image.fromarray(_to_uint8(np.asarray(image), name)).convert("RGB")
    if image.mode.startswith("I"):  # 16-bit grey, in 16 or 32 bits of either byte order
        return PIL.Image.fromarray(_to_uint8(np.asarray(image).clip(0, 65535).astype(np.uint16), name)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, (*background, 255)), image).convert("RGB")
    elif image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    return _to_srgb(image, profile) if profile else image.convert("RGB")


def _to_srgb(image: PIL.Image.Image, profile: bytes) -> PIL.Image.Image:
    """Colours by the embedded profile (cameras' Display P3, printers' CMYK); one that fits not is passed over."""
    try:
        source = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in PIL.ImageCms.getProfileDescription(source):
            return image.convert("RGB")
        converted = PIL.ImageCms.profileToProfile(image, source, PIL.ImageCms.createProfile("sRGB"), outputMode="RGB")
        return converted or image.convert("RGB")
    except (OSError, PIL.ImageCms.PyCMSError):
        return image.convert("RGB")


def _from_array(source: Any, max_pixels: int, background: tuple[int, int, int]) -> np.ndarray:
    array, shape = source, np.shape(source)
    if tensor := hasattr(source, "detach"):  # a torch tensor, without importing torch
        array = np.asarray(source.detach().cpu())
    elif not isinstance(source, np.ndarray):
        raise ValueError(
            f"a picture came as {type(source).__name__}: "
            "give a path, bytes, a PIL image, a numpy array or a torch tensor."
        )
    if tensor and array.ndim == 3 and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"the picture has shape {tuple(shape)}: give (H, W), (H, W, 3) or (H, W, 4), or a tensor (C, H, W)."
        )
    limits.check_pixels("the picture", array.shape[1], array.shape[0], max_pixels)
    array = _to_uint8(array, "the picture")
    if array.shape[-1] == 4:
        alpha = array[..., 3:] / np.float32(255)
        array = np.round(array[..., :3] * alpha + np.array(background, np.float32) * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


def _to_uint8(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype.kind != "f":
        raise ValueError(f"{name} has values of type {array.dtype}: give uint8, uint16 or float in [0, 1].")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite values: every value must lie in [0, 1].")
    low, high = float(array.min()), float(array.max())
    if low < -0.1 or high > 1.1:  # a resampler's overshoot is clipped, another scale is a mistake
        raise ValueError(f"{name} holds floats from {low:g} to {high:g}: scale them to [0, 1] or give uint8.")
    return np.round(array.clip(0, 1) * 255).astype(np.uint8)
