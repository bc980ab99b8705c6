"""Films in and out, a frame at a time: constant rate, upright, true colours, sound of exactly the film's length."""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from mien.media import FRAME_RATE, limits
from mien.media.container import decode, open_media, origin_s, pictures_of
from mien.media.files import source_name, written_beside
from mien.media.sound import LAYOUTS, Sound, audio_frame

QUEUE = 4  # frames that may wait for the encoder: enough to even out its pace, and no memory to speak of
ROUNDING_S = 0.001  # Matroska's time stamps are whole milliseconds


@dataclass(frozen=True)
class Container:
    """What a file ending means for the encoders."""

    format: str
    video: Literal["libx264", "libvpx-vp9", "prores_ks"]
    pixels: Literal["yuv420p", "yuva420p", "yuva444p10le"]
    audio: Literal["aac", "flac", "libopus"]
    rates: tuple[int, ...] | range  # Hz the audio encoder takes; others become 48000


AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
CONTAINERS = {
    ".mp4": Container("mp4", "libx264", "yuv420p", "aac", AAC_RATES),
    ".mov": Container("mov", "libx264", "yuv420p", "aac", AAC_RATES),
    ".mkv": Container("matroska", "libx264", "yuv420p", "flac", range(1, 655350)),  # AAC could not end on the sample here
    ".webm": Container("webm", "libvpx-vp9", "yuv420p", "libopus", (48000, 24000, 16000, 12000, 8000)),
}
SEE_THROUGH = {  # for frames with alpha
    ".mov": replace(CONTAINERS[".mov"], video="prores_ks", pixels="yuva444p10le"),
    ".webm": replace(CONTAINERS[".webm"], pixels="yuva420p"),
}
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")  # of x264
BT709 = 1  # FFmpeg's number of this matrix, these primaries and this transfer curve alike
UNSPECIFIED = 2


@dataclass(frozen=True)
class FilmFacts:
    """What a film is: how long its pictures last, size (W, H) in pixels as shown, frames a second on average."""

    duration_s: float
    size: tuple[int, int]
    fps: float
    has_sound: bool


def check_alpha(path: str | os.PathLike) -> None:
    """Raise ValueError if a film of this ending cannot be seen through."""
    ending = Path(path).suffix.lower()
    if ending not in SEE_THROUGH:
        raise ValueError(
            f"{Path(path).name} cannot be transparent, {ending or 'no ending'} carries no alpha: "
            "choose .mov (ProRes 4444) or .webm (VP9)."
        )


def probe(source: str | os.PathLike | bytes) -> FilmFacts:
    """Look at a film without reading it through.

    Raises FileNotFoundError or ValueError with one sentence.
    """
    name = source_name(source, "film")
    with open_media(source, "film") as container:
        stream = _pictures(container, name)
        first = next(decode(container, stream), None)
        if first is None:
            raise ValueError(f"{name} has no picture that can be decoded: it seems to be damaged.")
        height, width = _upright_rgb(first, stream, None).shape[:2]
        fps = float(stream.average_rate or stream.guessed_rate or FRAME_RATE)
        if stream.duration and stream.time_base:
            duration_s = float(((stream.start_time or 0) + stream.duration) * stream.time_base) - origin_s(container)
        elif container.duration:
            duration_s = container.duration / av.time_base
        else:  # a browser's recording tells its length nowhere: the last time stamp does
            ends = [(p.pts + (p.duration or 0)) * p.time_base for p in container.demux(stream) if p.pts is not None]
            duration_s = float(max(ends, default=0)) - origin_s(container)
        return FilmFacts(duration_s, (width, height), fps, bool(container.streams.audio))


def read_frames(source: str | os.PathLike | bytes, fps: float = FRAME_RATE) -> Iterator[np.ndarray]:
    """The film at a constant rate: frame n is what is shown at n / fps seconds; frames are repeated or left out for it.

    source: a path or the bytes of a file. Yields (H, W, 3) uint8 RGB, upright, square pixels, one at a time; a repeated
        frame is the same array, so copy before drawing on it.
    Raises FileNotFoundError or ValueError with one sentence, when the first frame is asked for.
    """
    name = source_name(source, "film")
    with open_media(source, "film") as container:
        stream = _pictures(container, name)
        origin, usual_s = origin_s(container), 1 / float(stream.average_rate or stream.guessed_rate or fps)
        shown: np.ndarray | None = None
        pending: av.VideoFrame | None = None  # on the screen now; turned into RGB only if a frame of ours falls on it
        n, until_s = 0, 0.0
        for frame in decode(container, stream):
            start_s = until_s if frame.pts is None else float(frame.pts * frame.time_base) - origin
            if pending is not None and n / fps < start_s - ROUNDING_S:
                shown = _upright_rgb(pending, stream, shown)
                while n / fps < start_s - ROUNDING_S:
                    yield shown
                    n += 1
            pending = frame
            until_s = start_s + (float(frame.duration * frame.time_base) if frame.duration else usual_s)
            limits.check_duration(name, until_s)
        if pending is None:
            raise ValueError(f"{name} has no picture that can be decoded: it seems to be damaged.")
        shown = _upright_rgb(pending, stream, shown)
        while n == 0 or n / fps < until_s - ROUNDING_S:
            yield shown
            n += 1


def write_film(
    path: str | os.PathLike,
    frames: Iterable[np.ndarray],
    sound: Sound | None = None,
    fps: float = FRAME_RATE,
    crf: int = 18,
    preset: str = "veryfast",
    thread_count: int = 2,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a film; it appears at `path` when it is whole, or not at all.

    frames: (H, W, 3) uint8 RGB, or (H, W, 4) with straight alpha, all of one size; odd sizes get their last row or
        column twice. They are encoded by a thread while the next ones are made. A generator is closed in any case.
    sound: cut or filled with silence to the length of the frames. crf: quality, lower is better (H.264's scale, 0-51).
    preset: speed against size, one of `PRESETS`. thread_count: the encoder's. metadata: tags, {"comment": ...}.
    The ending chooses H.264 with AAC (.mp4, .mov), H.264 with FLAC (.mkv) or VP9 with Opus (.webm); with alpha, ProRes
    4444 (.mov, which has no crf) or VP9 (.webm).
    Raises FileNotFoundError or ValueError with one sentence; whatever `frames` raises passes through.
    """
    frames, name = iter(frames), Path(path).name
    if preset not in PRESETS or not 0 <= crf <= 51:
        raise ValueError(
            f"preset {preset!r} and crf {crf} were asked for: give one of {', '.join(PRESETS)}, and 0 to 51."
        )
    try:
        with written_beside(path, CONTAINERS) as part:
            kind = CONTAINERS[Path(path).suffix.lower()]
            first = next(frames, None)
            if first is None:
                raise ValueError(f"no frame came for {name}: a film needs at least one.")
            shape = _checked(first, None, name).shape
            if shape[2] == 4:
                check_alpha(path)
                kind = SEE_THROUGH[Path(path).suffix.lower()]
            layout = {"movflags": "+faststart"} if kind.audio == "aac" else {}  # a browser may play before all has come
            with (
                av.open(os.fspath(part), "w", format=kind.format, options=layout) as container,
                ThreadPoolExecutor(1, "mien-encode") as encoder,  # left first: nothing encodes into a closed file
            ):
                container.metadata.update(metadata or {})
                rate = Fraction(fps).limit_denominator(1001)
                film = _Film(container, kind, shape[:2], sound, rate, crf, preset, thread_count)
                waiting: deque[Future] = deque([encoder.submit(film.add, _video_frame(first))])
                for frame in frames:
                    waiting.append(encoder.submit(film.add, _video_frame(_checked(frame, shape, name))))
                    if len(waiting) > QUEUE:
                        waiting.popleft().result()
                waiting.append(encoder.submit(film.finish))
                for future in waiting:
                    future.result()
    finally:
        if isinstance(frames, Generator):
            frames.close()


class _Film:
    """The encoders of one film. Sound is encoded along with the frames it belongs to, so its length follows theirs."""

    def __init__(
        self, container: OutputContainer, kind: Container, size: tuple[int, int], sound: Sound | None, fps: Fraction,
        crf: int, preset: str, thread_count: int,
    ) -> None:  # fmt: skip
        self.container, self.fps, self.n_frames = container, fps, 0
        quality = {"crf": str(crf), "preset": preset}
        if kind.video == "libvpx-vp9":
            quality = {"crf": str(crf), "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"}
        if kind.video == "prores_ks":
            quality = {"profile": "4444", "alpha_bits": "8", "vendor": "apl0"}
        video = self.video = container.add_stream(kind.video, rate=fps, options=quality)
        video.height, video.width = (side + side % 2 for side in size)
        video.pix_fmt = self.pixels = kind.pixels
        context = video.codec_context
        context.time_base, context.thread_count = 1 / fps, thread_count
        context.color_range = ColorRange.MPEG
        context.colorspace = context.color_primaries = context.color_trc = BT709
        self.to_yuv = VideoReformatter()
        self.sound, self.audio, self.written = None, None, 0
        if sound is not None:
            rate = sound.sample_rate if sound.sample_rate in kind.rates else 48000
            self.sound = sound.resampled(rate)
            channels = sound.samples.shape[1]
            self.audio = container.add_stream(kind.audio, rate=rate, layout=LAYOUTS[channels])
            # FFmpeg's AAC needs this much: at 128 kb/s a loud voice of 48 kHz keeps 20 dB of signal to noise, here 48.
            self.audio.bit_rate = channels * min(192_000, 6 * rate)

    def add(self, frame: av.VideoFrame) -> None:
        """Encode a frame and the sound up to its end."""
        yuv = self.to_yuv.reformat(
            frame, format=self.pixels, dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.MPEG,
        )  # fmt: skip
        yuv.pts, yuv.time_base = self.n_frames, 1 / self.fps
        self.container.mux(self.video.encode(yuv))
        self.n_frames += 1
        if self.sound is not None and self.audio is not None:
            end = round(self.n_frames * self.sound.sample_rate / self.fps)
            block = np.zeros((end - self.written, self.sound.samples.shape[1]), np.float32)
            heard = self.sound.samples[self.written : end]
            block[: len(heard)] = heard
            self.container.mux(
                self.audio.encode(audio_frame(block, self.sound.sample_rate, self.written, block.shape[1]))
            )
            self.written = end

    def finish(self) -> None:
        """Empty the encoders."""
        self.container.mux(self.video.encode(None))
        if self.audio is not None:
            self.container.mux(self.audio.encode(None))


def _checked(frame: np.ndarray, shape: tuple[int, ...] | None, name: str) -> np.ndarray:
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (3, 4):
        came = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise ValueError(f"a frame of {name} came as {came}: frames are numpy arrays (H, W, 3 or 4) uint8, RGB or RGBA.")
    if shape is None:
        limits.check_pixels(f"a frame of {name}", frame.shape[1], frame.shape[0])
    elif frame.shape != shape:
        raise ValueError(
            f"a frame of {name} has {frame.shape[1]} x {frame.shape[0]} pixels, the first had {shape[1]} x {shape[0]}: "
            "give frames of one size and kind."
        )
    return frame


def _video_frame(frame: np.ndarray) -> av.VideoFrame:
    """A copy for the encoder, so that whoever made the frame may use its memory again; even sides by repetition."""
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgba" if frame.shape[2] == 4 else "rgb24")


def _pictures(container: InputContainer, name: str) -> av.VideoStream:
    stream = pictures_of(container)[0]
    if stream.codec_context is None:
        raise ValueError(f"the pictures of {name} are in a code that is unknown here: save it as mp4 (H.264).")
    limits.check_pixels(name, round(stream.width * _aspect(stream)), stream.height)
    stream.thread_type = "AUTO"
    return stream


def _aspect(stream: av.VideoStream) -> float:
    """Width of a pixel over its height."""
    return float(stream.sample_aspect_ratio or 1)


def _upright_rgb(frame: av.VideoFrame, stream: av.VideoStream, like: np.ndarray | None) -> np.ndarray:
    """A decoded frame as it is shown: its matrix and range undone, pixels square, turned; of `like`'s size if given."""
    turns = round(frame.rotation / 90) % 4
    if like is None:
        width, height = round(frame.width * _aspect(stream)), frame.height
    else:
        height, width = like.shape[:2] if turns % 2 == 0 else like.shape[1::-1]
    matrix = None  # the frame's own
    if frame.colorspace == UNSPECIFIED:  # players take BT.601 for small pictures and BT.709 for large ones
        matrix = Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
    rgb = frame.reformat(width=width, height=height, format="rgb24", src_colorspace=matrix).to_ndarray()
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb
