"""The codec live: 40 ms of sound in, a frame of digits out, and the other way round, with the state passed in and out.

`send` and `receive` are one step each. The rest joins steps to streams: raw PCM, packets one after the other in a pipe,
and a network that loses some of them.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np

from mien.codec.front import FRAME_LENGTH, check_sound
from mien.codec.model import Codec, DecoderState, EncoderState, FrameCodes
from mien.codec.packets import Frame, Packer, Unpacker

VOICE_AT, VOICE_EVERY = (10, 25), 50  # frames after which a voice is sent: early, better, and then now and then
BURST = 2.0  # packets that are lost together, mean
GREETING = "mien live 1"  # first line of a stream of packets, with the codec's name and the frames in a packet


Told = Callable[[int], object]  # gets the bytes of every packet that is sent


# One step


@dataclass(frozen=True)
class SenderState:
    """Where a sender stands. frames: how many were sent."""

    encoder: EncoderState
    frames: int = 0


@dataclass(frozen=True)
class ReceiverState:
    """Where a receiver stands. voice: (24,) digits, None as long as none has come."""

    decoder: DecoderState
    voice: np.ndarray | None = None


def start_sending(codec: Codec) -> SenderState:
    """The state of a sender that has heard nothing yet."""
    return SenderState(codec.start_encoding())


def start_receiving(codec: Codec) -> ReceiverState:
    """The state of a receiver that got nothing yet."""
    return ReceiverState(codec.start_decoding())


def send(codec: Codec, samples: np.ndarray, tiers: int, state: SenderState) -> tuple[Frame | None, SenderState]:
    """The next (640,) samples to a frame of as many tiers, None where the codec still looks ahead, and the next state."""
    codes, encoder = codec.encode_step(samples, state.encoder)
    if not len(codes):
        return None, replace(state, encoder=encoder)
    frames = state.frames + 1
    due = frames in VOICE_AT or frames % VOICE_EVERY == 0
    frame = Frame(codes.semantic[0], codes.tiers[0, :tiers], codes.voice[0] if due else None)
    return frame, SenderState(encoder, frames)


def receive(codec: Codec, frame: Frame, state: ReceiverState) -> tuple[np.ndarray, ReceiverState]:
    """The next frame, whatever is left of it, to (640,) samples and the next state."""
    layout = codec.config.layout
    voice = state.voice if frame.voice is None else frame.voice
    semantic = np.zeros(len(layout.semantic), np.uint8) if frame.semantic is None else frame.semantic
    kept = np.array([frame.semantic is not None, *[1] * len(frame.tiers)])
    codes = FrameCodes(
        semantic[None],
        frame.tiers[None],
        np.zeros((1, len(layout.voice)), np.uint8) if voice is None else voice[None],
        kept[None],
        np.array([voice is not None]),
    )
    samples, decoder = codec.decode_step(codes, state.decoder)
    return samples, ReceiverState(decoder, voice)


# Streams


def encoded(codec: Codec, blocks: Iterable[np.ndarray], tiers: int) -> Iterator[Frame]:
    """Blocks of 640 samples, the last one perhaps shorter, to as many frames."""
    state, blocks_heard = start_sending(codec), 0
    for block in blocks:
        frame, state = send(codec, np.pad(check_sound(block), (0, FRAME_LENGTH - len(block))), tiers, state)
        blocks_heard += 1
        if frame is not None:
            yield frame
    while state.frames < blocks_heard:
        frame, state = send(codec, np.zeros(FRAME_LENGTH, np.float32), tiers, state)
        if frame is not None:
            yield frame


def decoded(codec: Codec, frames: Iterable[Frame]) -> Iterator[np.ndarray]:
    """Frames to blocks of 640 samples."""
    state = start_receiving(codec)
    for frame in frames:
        samples, state = receive(codec, frame, state)
        yield samples


def read_pcm(file: BinaryIO) -> Iterator[np.ndarray]:
    """Signed 16-bit little-endian samples to blocks of 640, as they come; the last one may be shorter."""
    while data := file.read(2 * FRAME_LENGTH):
        yield np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / 32768


def pcm(samples: np.ndarray) -> bytes:
    """Float samples in [-1, 1] as signed 16-bit little-endian ones."""
    return np.rint(samples * 32767).astype("<i2").tobytes()


def write_packets(
    file: BinaryIO, codec: Codec, frames: Iterable[Frame], bundle: int, told: Told = lambda size: None
) -> None:
    """Write frames as packets, each behind its length (one byte), as soon as it is full. bundle: frames in a packet.

    told: gets the bytes of each, its length's with them.
    """
    file.write(f"{GREETING} {codec.config.name} {bundle}\n".encode())
    for packet in _packed(frames, Packer(bundle, layout=codec.config.layout)):
        file.write(bytes([len(packet)]) + packet)
        file.flush()
        told(1 + len(packet))


def read_packets(file: BinaryIO, codec: Codec) -> Iterator[Frame]:
    """Frames from packets that `write_packets` wrote. Raises ValueError for another stream or another codec's."""
    greeting = re.fullmatch(rf"{GREETING} (.+) ([1-9]\d?)\n", file.readline(256).decode(errors="replace"))
    if greeting is None:
        raise ValueError("this is no stream of mien packets: connect it to `mien codec stream --encode`.")
    name, bundle = greeting[1], int(greeting[2])
    if name != codec.config.name:
        raise ValueError(
            f"this stream was made by the codec '{name}', this is '{codec.config.name}': receive it with the same --model."
        )

    def packets() -> Iterator[bytes]:
        while size := file.read(1):
            yield file.read(size[0])

    return _unpacked(packets(), Unpacker(bundle, codec.config.layout))


def lossy(
    codec: Codec, frames: Iterable[Frame], bundle: int, share: float, seed: int = 0, told: Told = lambda size: None
) -> Iterator[Frame]:
    """Frames after a way through packets of which a share gets lost, in bursts as networks lose them.

    told: gets the bytes of each packet, lost or not.
    """
    sent = 0

    def counted() -> Iterator[Frame]:
        nonlocal sent
        for frame in frames:
            sent += 1
            yield frame

    def through() -> Iterator[bytes]:
        packets = _packed(counted(), Packer(bundle, layout=codec.config.layout))
        for packet, lost in zip(packets, _losses(share, seed), strict=False):
            told(len(packet))
            if not lost:
                yield packet

    arrived = 0
    for frame in _unpacked(through(), Unpacker(bundle, codec.config.layout)):
        arrived += 1
        yield frame
    for _ in range(sent - arrived):  # after the last packets nothing came that would tell of them
        yield Frame(None, np.zeros((0, len(codec.config.layout.tier)), np.uint8), received="lost")


def _packed(frames: Iterable[Frame], packer: Packer) -> Iterator[bytes]:
    for frame in frames:
        if (packet := packer.push(frame)) is not None:
            yield packet
    if (packet := packer.flush()) is not None:
        yield packet


def _unpacked(packets: Iterable[bytes], unpacker: Unpacker) -> Iterator[Frame]:
    for packet in packets:
        yield from unpacker.push(packet)
    while unpacker.early:
        yield from unpacker.missing()


def _losses(share: float, seed: int) -> Iterator[bool]:
    """Whether the next packet gets lost: a chain of two states (Gilbert 1960) that stays in the bad one for BURST."""
    rng, lost = np.random.default_rng(seed), False
    begins = min(share / max(1 - share, 1e-9) / BURST, 1.0)
    while True:
        lost = bool(rng.random() < (1 - 1 / BURST if lost else begins))
        yield lost
