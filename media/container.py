"""Sound and film files opened by PyAV, and every way they can be unreadable told in one sentence."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import av
import PIL.Image
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition

from mien.media import limits
from mien.media.files import open_source, source_name

# Demuxers that read one file and nothing else: a playlist (HLS, concat, DASH ...) could name any file of the machine.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "gif",
    "h264", "hevc", "m4v", "mxf", "dv", "rm", "ivf", "wav", "w64", "aiff", "au", "caf", "flac", "mp3", "aac", "ac3",
    "eac3", "amr", "ape", "wv", "tta", "mpc", "mpc8", "voc",
)  # fmt: skip
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO")

Stream = Literal["sound", "film"]


@contextmanager
def open_media(source: str | os.PathLike | bytes, wanted: Stream) -> Iterator[InputContainer]:
    """Open a file that has the wanted stream (a film has pictures, a sound may come from either).

    Raises FileNotFoundError or ValueError with one sentence; decoding errors inside the `with` become a ValueError too.
    """
    name = source_name(source, wanted)
    file = open_source(source, wanted, limits.MAX_MEDIA_BYTES)
    try:
        container = _open(file)
    except (FFmpegError, OSError, ValueError):
        raise ValueError(_unreadable(name, file, wanted)) from None
    with container:
        if wanted == "film" and not pictures_of(container):
            raise ValueError(f"{name} is a sound, not a film: give it as the audio.")
        if wanted == "sound" and not container.streams.audio:
            raise ValueError(f"{name} is a film without sound: give a film or a sound file one can hear.")
        limits.check_duration(name, (container.duration or 0) / av.time_base)
        try:
            yield container
        except FFmpegError as error:
            raise ValueError(f"{name} cannot be decoded ({error.strerror}): it seems to be damaged.") from error


def pictures_of(container: InputContainer) -> list[av.VideoStream]:
    """The streams that are film; the cover picture of a song is none."""
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def origin_s(container: InputContainer) -> float:
    """The time stamp, in seconds, at which a film begins for those who watch it.

    Broadcast recordings start anywhere; an encoder's lead-in before zero is not part of the film.
    """
    return max(0, container.start_time or 0) / av.time_base


def decode(container: InputContainer, stream: av.VideoStream | av.AudioStream) -> Iterator:
    """Decode one stream; single damaged packets are left out, as players do."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except InvalidDataError:
            continue


def open_picture(file: Path | io.BytesIO) -> PIL.Image.Image:
    """Read a picture's header; Pillow decodes later. Raises what Pillow raises."""
    PIL.Image.init()  # some formats are missing from some builds of Pillow
    return PIL.Image.open(file, formats=[name for name in PICTURE_FORMATS if name in PIL.Image.OPEN])


def what_it_is(file: Path | io.BytesIO) -> str:
    """What a file seems to be: "picture", "sound", "film", or "" if nothing here can read it."""
    try:
        with open_picture(_rewound(file)):
            return "picture"
    except PIL.Image.DecompressionBombError:
        return "picture"
    except (PIL.UnidentifiedImageError, OSError, SyntaxError, ValueError):
        pass
    try:
        with _open(_rewound(file)) as container:
            return "film" if pictures_of(container) else "sound" if container.streams.audio else ""
    except (FFmpegError, OSError, ValueError):
        return ""


def _open(file: Path | io.BytesIO) -> InputContainer:
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
    return av.open(file if isinstance(file, io.BytesIO) else os.fspath(file), "r", container_options=options)


def _unreadable(name: str, file: Path | io.BytesIO, wanted: Stream) -> str:
    if what_it_is(file) == "picture":
        return f"{name} is a picture, not a {wanted}: give it as the image."
    suffix = Path(name).suffix.lower()
    if suffix in (".mp4", ".mov", ".m4a", ".mkv", ".webm", ".avi", ".wav", ".mp3", ".ogg", ".flac", ".opus", ".aac"):
        return f"{name} is no readable {suffix[1:]} file: it seems to be damaged or cut short, save it again."
    common = "mp4" if wanted == "film" else "wav or mp3"
    return f"{name} is no {wanted} that can be read: give a common file such as {common}."


def _rewound(file: Path | io.BytesIO) -> Path | io.BytesIO:
    if isinstance(file, io.BytesIO):
        file.seek(0)
    return file
