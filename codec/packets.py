"""Live speech in packets: a few frames each, and the frames before them once more at the base rate.

    check     1 byte   CRC-8 of all that follows
    head      2 bytes  number of the packet 12 bits, voice follows 1, frames before follow 1, tiers 2 (little-endian)
    digits             one big number: S of the packet before, S, tiers, voice

How many frames there are follows from the length: only the last packet of a stream may have fewer than `bundle`. A lost
packet is heard at the base rate as soon as the next one is there; a damaged one counts as lost.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mien.codec.bitstream import CRC8, checksum, pack, packed_size, unpack
from mien.codec.tokens import Layout

NUMBERS = 1 << 12  # packets are counted modulo this
VOICE, BEFORE = 1 << 12, 1 << 13
LEAP = 50  # packets: one that is further ahead of its turn, 6 s at three frames each, is not believed alone


@dataclass(frozen=True)
class Frame:
    """40 ms of speech as digits.

    semantic: (5,) uint8, None if the frame is lost. tiers: (K, 5) uint8. voice: (24,) uint8 if one counts from here on.
    received: "base" if only S came through, in the next packet; "lost" if nothing did.
    """

    semantic: np.ndarray | None
    tiers: np.ndarray
    voice: np.ndarray | None = None
    received: Literal["full", "base", "lost"] = "full"


@dataclass
class Packer:
    """The sender. Its fields are all its state: a copy of it goes on from the same place.

    bundle: frames in a packet. voice_every: packets after which a voice is sent again, for those that missed it.
    """

    bundle: int = 3
    voice_every: int = 12
    layout: Layout = Layout()
    number: int = 0
    frames: list[Frame] = field(default_factory=list)
    before: np.ndarray | None = None  # (bundle, 5) S of the packet before
    voice: np.ndarray | None = None
    voice_age: int = 0  # packets since it was sent

    def push(self, frame: Frame) -> bytes | None:
        """Take a frame; return a packet when there are frames enough for one. A new voice counts from its packet on."""
        assert frame.semantic is not None
        if frame.voice is not None:
            self.voice, self.voice_age = frame.voice, 0
        self.frames.append(frame)
        return self.flush() if len(self.frames) == self.bundle else None

    def flush(self) -> bytes | None:
        """Return a packet of the frames that wait for others, None if there are none: the end of the speech."""
        if not self.frames:
            return None
        layout = self.layout
        voiced = self.voice is not None and self.voice_age % self.voice_every == 0
        n_tiers = min(len(frame.tiers) for frame in self.frames)
        semantic = np.stack([frame.semantic for frame in self.frames if frame.semantic is not None])
        tiers = np.stack([frame.tiers[:n_tiers].ravel() for frame in self.frames])
        parts = [(semantic, layout.semantic), (tiers, layout.tier * n_tiers)]
        head = self.number | n_tiers << 14
        if self.before is not None:
            head |= BEFORE
            parts.insert(0, (self.before, layout.semantic))
        if voiced and self.voice is not None:
            head |= VOICE
            parts.append((self.voice[None], layout.voice))
        body = head.to_bytes(2, "little") + pack(*parts)

        self.before = semantic if len(self.frames) == self.bundle else None
        self.number = (self.number + 1) % NUMBERS
        self.voice_age += 1
        self.frames = []
        return bytes([checksum(body, CRC8)]) + body


@dataclass(frozen=True)
class _Packet:
    before: np.ndarray | None
    frames: list[Frame]


@dataclass
class Unpacker:
    """The receiver: frames in order, none twice. Its fields are all its state.

    bundle: as the sender's. A packet that is ahead of its turn waits for one more packet, so that two may change places.
    One that is more than `LEAP` ahead counts when the next one to come is near it: the line was dead. Alone it is a stray.
    """

    bundle: int = 3
    layout: Layout = Layout()
    turn: int = 0  # number of the packet whose frames come next, counted without end
    early: dict[int, _Packet] = field(default_factory=dict)  # what came before its turn
    far: dict[int, _Packet] = field(default_factory=dict)  # the packet that came last, if it is too far ahead

    def push(self, packet: bytes) -> list[Frame]:
        """Take what the network brought, in whatever order and state; return the frames that are now to be played."""
        read = self._read(packet)
        if read is None:
            return []
        number, content = read
        ahead = (number - self.turn + NUMBERS // 2) % NUMBERS - NUMBERS // 2
        if ahead < 0:
            return []  # its turn is over
        place = self.turn + ahead
        arrived, far, self.far = {place: content}, self.far, {}
        if ahead > LEAP:
            if not any(0 < abs(place - other) <= LEAP for other in far):
                self.far = arrived
                return []
            arrived |= far
        self.early |= arrived
        frames = self._ready()
        while len(self.early) > 1:
            frames += self.missing()
        return frames

    def missing(self) -> list[Frame]:
        """Wait no longer for the packet whose turn it is: return its frames, as far as they are known, and what follows.

        To be called when its frames have to be played, and at the end for as long as packets are `early`.
        """
        following = self.early.get(self.turn + 1)
        none = np.zeros((0, len(self.layout.tier)), np.uint8)
        if following is not None and following.before is not None:
            frames = [Frame(semantic, none, received="base") for semantic in following.before]
        else:
            frames = [Frame(None, none, received="lost")] * self.bundle
        self.turn += 1
        return frames + self._ready()

    def _ready(self) -> list[Frame]:
        frames: list[Frame] = []
        while self.turn in self.early:
            frames += self.early.pop(self.turn).frames
            self.turn += 1
        return frames

    def _read(self, packet: bytes) -> tuple[int, _Packet] | None:
        """Return number and content of a packet, None if it is damaged or none of ours."""
        if len(packet) < 4 or packet[0] != checksum(packet[1:], CRC8):
            return None
        layout = self.layout
        head = int.from_bytes(packet[1:3], "little")
        n_tiers = head >> 14
        if n_tiers > layout.tiers:
            return None
        for n in range(1, self.bundle + 1):
            parts = [(self.bundle * bool(head & BEFORE), layout.semantic), (n, layout.semantic)]
            parts += [(n, layout.tier * n_tiers), (int(bool(head & VOICE)), layout.voice)]
            if packed_size(*parts) == len(packet) - 3:
                break
        else:
            return None
        try:
            before, semantic, tiers, voice = unpack(packet[3:], *parts)
        except ValueError:
            return None
        tiers = tiers.reshape(n, n_tiers, len(layout.tier))
        voices = [*voice, *[None] * n][:n]
        frames = [Frame(s, t, v) for s, t, v in zip(semantic, tiers, voices, strict=True)]
        return head % NUMBERS, _Packet(before if len(before) else None, frames)
