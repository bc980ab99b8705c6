"""Tokens in bytes and back: the .mc file, every bit counted, and what is left of it when it was damaged.

    header   12 bytes: "mien", format 1, flags 1, codec 2, samples 4 (little-endian)
    block    check 1, [length 1-2, if entropy-coded], [voice 7], S of all its frames, the tiers of all its frames
    block    ...

Flags: the number of tiers (low 4 bits), 16 if entropy-coded. A block holds `Layout.block` frames, the last one what is
left, and can be read without the others. Its digits are one big number each for voice, S and tiers: packed so, a digit of
5 levels costs log2(5) bits. The check byte is a CRC of 7 bits over header, block number and the block's bytes, and
in its lowest bit whether a voice follows.
"""

import functools
import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mien.codec.entropy import Coder
from mien.codec.tokens import Layout, Tokens

SAMPLE_RATE = 16_000  # Hz
FRAME_LENGTH = 640  # samples
MAGIC = b"mien"
FORMAT = 1
TIERS, CODED = 0x0F, 0x10  # bits of the flags
LIMITS = 0.285, 1.04  # kbit/s of a file of half a minute or more, without tiers and with all
HALF_A_MINUTE = 30.0  # s

CRC7 = 0x12  # x^7 + x^3 + 1, one place up: the sum stands in the upper seven bits
CRC8 = 0x07  # x^8 + x^2 + x + 1

_HEADER = struct.Struct("<4sBBHI")


# Numbers of mixed radix and sums, for packets as well


def pack(*parts: tuple[np.ndarray, tuple[int, ...]]) -> bytes:
    """Pack digits into as few bytes as they need together.

    parts: pairs of digits (N, D) and the D levels they have, each digit below its level.
    """
    number = 0
    for digits, levels in parts:
        radix = math.prod(levels)
        for row in (digits.astype(np.int64) @ _weights(levels)).tolist():
            number = number * radix + row
    return number.to_bytes(packed_size(*((len(digits), levels) for digits, levels in parts)), "little")


def unpack(data: bytes, *parts: tuple[int, tuple[int, ...]]) -> list[np.ndarray]:
    """Undo `pack`: (N, D) uint8 digits for every pair of N and levels. Raises ValueError if no digits pack to `data`."""
    number = int.from_bytes(data, "little")
    found = []
    for n, levels in reversed(parts):
        radix = math.prod(levels)
        rows = np.zeros(n, np.int64)
        for i in reversed(range(n)):
            number, rows[i] = divmod(number, radix)
        found.append((rows[:, None] // _weights(levels) % np.array(levels, np.int64)).astype(np.uint8))
    if number:
        raise ValueError("these bytes hold a larger number than their digits can make: they are damaged.")
    return found[::-1]


@functools.lru_cache
def packed_size(*parts: tuple[int, tuple[int, ...]]) -> int:
    """Return the bytes that N rows of digits need, for pairs of N and levels."""
    return ((math.prod(math.prod(levels) ** n for n, levels in parts) - 1).bit_length() + 7) // 8


@functools.lru_cache
def _weights(levels: tuple[int, ...]) -> np.ndarray:
    assert math.prod(levels) < 2**63
    return np.array([math.prod(levels[i + 1 :]) for i in range(len(levels))], np.int64)


def checksum(data: bytes, polynomial: int) -> int:
    """Return the CRC of some bytes, most significant bit first, from 0; polynomial: CRC7 or CRC8."""
    table = _crc_table(polynomial)
    register = 0
    for byte in data:
        register = table[register ^ byte]
    return register


@functools.lru_cache
def _crc_table(polynomial: int) -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [register << 1 & 0xFF ^ (polynomial if register & 0x80 else 0) for register in table]
    return table


# The file


@dataclass(frozen=True)
class Reading:
    """What a file held. lost: (T,) bool, frames whose block was damaged; their digits are 0 and mean nothing."""

    tokens: Tokens
    lost: np.ndarray


def bounded(tokens: Tokens, tables: Mapping[str, np.ndarray]) -> Tokens:
    """Tokens whose entropy-coded file keeps its rate whatever is said: at most `LIMITS` from half a minute on.

    What a stretch leaves over the next may use; only where there is too much, digits are changed (`Coder.within`).
    """
    _check(tokens)
    coder, block = Coder(tables, tokens.layout), tokens.layout.block
    n_semantic, n_tiers = len(tokens.layout.semantic), tokens.tiers.shape[1]
    share = n_tiers / max(tokens.layout.tiers, 1)
    rate = (LIMITS[0] + share * (LIMITS[1] - LIMITS[0])) * 1000 / 8 * FRAME_LENGTH / SAMPLE_RATE  # bytes a frame
    first = _HEADER.size + packed_size((1, tokens.layout.voice))
    rate = 0.997 * rate - first * FRAME_LENGTH / SAMPLE_RATE / HALF_A_MINUTE  # a last block may be too short to be cut
    digits = np.concatenate([tokens.semantic, *np.moveaxis(tokens.tiers, 1, 0)], axis=1)
    spent, voices = _HEADER.size, set(tokens.voice_starts.tolist())
    for start in range(0, len(digits), block):
        part = digits[start : start + block]
        spent += 3 + (start in voices) * packed_size((1, tokens.layout.voice))  # check and length
        heard = min(start + len(part), tokens.n_samples / FRAME_LENGTH)
        part[:] = coder.within(part, int(first + rate * heard) - spent)
        spent += len(coder.encode(part))
    tiers = digits[:, n_semantic:].reshape(tokens.tiers.shape)
    return replace(tokens, semantic=digits[:, :n_semantic], tiers=tiers)


def write(tokens: Tokens, tables: Mapping[str, np.ndarray] | None = None) -> bytes:
    """Turn tokens into the bytes of a .mc file.

    tables: what `entropy.fit_tables` gave. With them the file is entropy-coded, if that makes it smaller.
    Raises ValueError for tokens that do not fit their own layout and for more samples than 32 bits count (74 h).
    """
    _check(tokens)
    plain = _assemble(tokens, None)
    if tables is None:
        return plain
    return min(plain, _assemble(tokens, Coder(tables, tokens.layout)), key=len)


def read(
    data: bytes,
    model: str,
    tables: Mapping[str, np.ndarray] | None = None,
    damaged: Literal["refuse", "conceal"] = "refuse",
    layout: Layout = Layout(),  # noqa: B008 - frozen
) -> Reading:
    """Turn the bytes of a .mc file back into tokens.

    model: name of the codec that is to decode them. tables: its tables, which only entropy-coded files need.
    damaged: "refuse" raises for a damaged or shortened file; "conceal" gives what is whole and says which frames are
    lost. A voice that was lost is replaced by the one before it, at the start by the next one, or else by the middle of
    all levels. One damaged block in 128 is not noticed, as its sum is right by chance; hardly any if entropy-coded.
    Raises ValueError for what is no such file, or of a newer format, or of another codec, or has no whole block.
    """
    blocks = _open(data, model, tables, layout)
    n_frames = blocks.n_frames
    semantic = np.zeros((n_frames, len(layout.semantic)), np.uint8)
    tiers = np.zeros((n_frames, blocks.n_tiers, len(layout.tier)), np.uint8)
    lost = np.ones(n_frames, bool)
    voices: list[np.ndarray] = []
    starts: list[int] = []
    for n, block in enumerate(_whole(blocks, data) if damaged == "refuse" else _salvaged(blocks, data)):
        if block is None:
            continue
        frames = slice(n * layout.block, n * layout.block + blocks.length(n))
        semantic[frames] = block.digits[:, : len(layout.semantic)]
        tiers[frames] = block.digits[:, len(layout.semantic) :].reshape(tiers[frames].shape)
        lost[frames] = False
        if block.voice is not None:
            voices.append(block.voice)
            starts.append(frames.start)
    if n_frames and lost.all():
        raise ValueError("no block of this file is whole, or its header is damaged: get the file again.")
    if n_frames:
        voices = voices or [np.array(layout.voice, np.uint8) // 2]
        starts = [0, *starts[1:]]
    tokens = Tokens(
        semantic, tiers, np.array(voices, np.uint8).reshape(-1, len(layout.voice)), np.array(starts, np.int64),
        blocks.n_samples, model, layout,
    )  # fmt: skip
    return Reading(tokens, lost)


def kbps(data: bytes, n_samples: int) -> float:
    """Return the true rate of a file of n_samples (16 kHz) in kbit/s, header and all; 0 if it holds no sound."""
    return 8 * len(data) / (n_samples / SAMPLE_RATE) / 1000 if n_samples else 0.0


@dataclass(frozen=True)
class _Block:
    """What a block holds. voice: (24,) or None. digits: (F, 5 + 5 K), S first."""

    voice: np.ndarray | None
    digits: np.ndarray


class _Blocks:
    """How the blocks of one file are written and read, wherever they lie."""

    def __init__(self, header: bytes, layout: Layout, coder: Coder | None) -> None:
        *_, flags, _, self.n_samples = _HEADER.unpack(header)
        self.n_frames = -(-self.n_samples // FRAME_LENGTH)
        self.n_tiers = flags & TIERS
        self.layout, self.coder = layout, coder
        # Whoever holds another header or other tables finds no sum right, and so reads nothing wrong.
        self.seed = header + (coder.fingerprint if coder else b"")
        self.voice_size = packed_size((1, layout.voice))

    def __len__(self) -> int:
        return -(-self.n_frames // self.layout.block)

    def length(self, n: int) -> int:
        """Frames in block n."""
        return min(self.layout.block, self.n_frames - n * self.layout.block)

    def parts(self, n: int) -> list[tuple[int, tuple[int, ...]]]:
        """Rows and levels of S and of the tiers in block n."""
        return [(self.length(n), self.layout.semantic), (self.length(n), self.layout.tier * self.n_tiers)]

    def write(self, block: _Block, n: int) -> bytes:
        """Return the bytes of block n."""
        body = b"" if block.voice is None else pack((block.voice[None], self.layout.voice))
        if self.coder:
            body += self.coder.encode(block.digits)
            size = len(body)
            body = (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + body
        else:
            split = np.split(block.digits, [len(self.layout.semantic)], axis=1)
            body += b"".join(pack((part, levels)) for part, (_, levels) in zip(split, self.parts(n), strict=True))
        return bytes([self.check(n, block.voice is not None, body)]) + body

    def read(self, data: bytes, start: int, n: int) -> _Block | None:
        """Return block n if it stands at start and is whole."""
        end = self.end(data, start, n)
        if end > len(data):
            return None
        voiced = bool(data[start] & 1)
        if data[start] != self.check(n, voiced, data[start + 1 : end]):
            return None
        at = start + (1 if not self.coder else 2 if data[start + 1] < 128 else 3)
        try:
            voice = unpack(data[at : min(at + self.voice_size, end)], (1, self.layout.voice))[0][0] if voiced else None
            at += self.voice_size * voiced
            if self.coder:
                return _Block(voice, self.coder.decode(data[at:end], self.length(n), self.n_tiers))
            found = []
            for part in self.parts(n):
                found += unpack(data[at : at + packed_size(part)], part)
                at += packed_size(part)
        except ValueError:  # by chance the sum is right, what it sums is not
            return None
        return _Block(voice, np.concatenate(found, axis=1))

    def check(self, n: int, voiced: bool, body: bytes) -> int:
        return checksum(self.seed + n.to_bytes(4, "little") + bytes([voiced]) + body, CRC7) | voiced

    def end(self, data: bytes, start: int, n: int) -> int:
        """Where a block n that begins at start ends, by what stands there; beyond the data if it is not all there."""
        check, size, more = data[start : start + 3].ljust(3, b"\0")
        if not self.coder:
            return start + self.sizes(n)[check & 1]
        return start + (2 + size if size < 128 else 3 + (size & 127 | more << 7))

    def sizes(self, n: int) -> tuple[int, int]:
        """Bytes of block n without and with a voice, if not entropy-coded."""
        plain = 1 + sum(packed_size(part) for part in self.parts(n))
        return plain, plain + self.voice_size

    def likely_ends(self, data: bytes, start: int, n: int) -> Sequence[int]:
        """Where a block n that begins at start may end, whatever stands there."""
        plain, voiced = (start + size for size in self.sizes(n))
        if not self.coder:
            return plain, voiced
        return range(start + 2, max(start + 3, min(voiced + 16, len(data) + 1)))  # coded, few blocks grow


def _assemble(tokens: Tokens, coder: Coder | None) -> bytes:
    flags = tokens.tiers.shape[1] | (CODED if coder else 0)
    header = _HEADER.pack(MAGIC, FORMAT, flags, _codec_number(tokens.model), tokens.n_samples)
    blocks = _Blocks(header, tokens.layout, coder)
    digits = np.concatenate([tokens.semantic, *np.moveaxis(tokens.tiers, 1, 0)], axis=1)
    voices = dict(zip(tokens.voice_starts.tolist(), tokens.voice, strict=True))
    out = [header]
    for n in range(len(blocks)):
        start = n * tokens.layout.block
        out.append(blocks.write(_Block(voices.get(start), digits[start : start + tokens.layout.block]), n))
    return b"".join(out)


def _check(tokens: Tokens) -> None:
    layout, starts = tokens.layout, tokens.voice_starts
    fits = (
        tokens.n_samples < 2**32
        and len(tokens) == -(-tokens.n_samples // FRAME_LENGTH)
        and tokens.semantic.shape[1:] == (len(layout.semantic),)
        and tokens.tiers.shape[::2] == (len(tokens), len(layout.tier))
        and tokens.tiers.shape[1] <= layout.tiers
        and tokens.voice.shape == (len(starts), len(layout.voice))
        and (tokens.semantic < layout.semantic).all()
        and (tokens.tiers < layout.tier).all()
        and (tokens.voice < layout.voice).all()
    )
    if not fits:
        raise ValueError("these tokens do not fit their layout and cannot be written: write what a codec's `encode` gave.")
    if len(tokens) and not (
        len(starts) and starts[0] == 0 and (np.diff(starts) > 0).all() and starts[-1] < len(tokens)
        and not (starts % layout.block).any()
    ):  # fmt: skip
        raise ValueError(
            f"voices start at frames {starts.tolist()}, but the first must start at 0 and every other at a later "
            f"multiple of {layout.block}: move them."
        )


def _open(data: bytes, model: str, tables: Mapping[str, np.ndarray] | None, layout: Layout) -> _Blocks:
    if not data or data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise ValueError("this is no mien file: give a .mc file that a codec of mien has written.")
    if len(data) < _HEADER.size:
        raise ValueError("this file was cut off within its header: get it again.")
    _, version, flags, number, _ = _HEADER.unpack_from(data)
    if version != FORMAT:
        raise ValueError(f"this file has format {version}, written by a newer mien than this, which reads {FORMAT}: update.")
    if number != _codec_number(model):
        raise ValueError(f"this file was made by another codec than '{model}': decode it with the one that made it.")
    if flags & ~(TIERS | CODED) or flags & TIERS > layout.tiers:
        raise ValueError("the header of this file is damaged, its flags mean nothing: get the file again.")
    if flags & CODED and tables is None:
        raise ValueError(f"this file is entropy-coded: pass the tables that came with '{model}' to read it.")
    coder = Coder(tables, layout) if flags & CODED and tables is not None else None
    return _Blocks(data[: _HEADER.size], layout, coder)


def _codec_number(model: str) -> int:
    return zlib.crc32(model.encode()) & 0xFFFF


def _whole(blocks: _Blocks, data: bytes) -> Iterator[_Block]:
    """Give all blocks of a file; raises ValueError at one that is not whole and if there is more than blocks."""
    start = _HEADER.size
    for n in range(len(blocks)):
        block, end = blocks.read(data, start, n), blocks.end(data, start, n)
        where = f"block {n + 1} of {len(blocks)}"
        if end > len(data):
            raise ValueError(f"this file ends within {where}, it was cut off: get it again, or conceal what is missing.")
        if block is None:
            raise ValueError(f"{where} in this file is damaged: get it again, or conceal what is lost.")
        yield block
        start = end
    if start < len(data):
        raise ValueError(f"this file goes on for {len(data) - start} bytes after its last block: get it again.")


@dataclass(frozen=True)
class _Way:
    """A way through the first blocks of a file: how much speaks for it, the last block if it is whole, the way to it."""

    score: int = 0
    block: _Block | None = None
    before: "_Way | None" = None


# What a whole block speaks for a way, and how much less if the block before, itself damaged, told where it begins, or if
# that was guessed: one sum in 128 is right by chance.
WHOLE, TOLD, GUESSED = 4, 3, 6


def _salvaged(blocks: _Blocks, data: bytes, most: int = 2048, patience: int = 100) -> list[_Block | None]:
    """Return all blocks of a file, None for those that are not whole.

    A damaged block cannot be trusted to tell where it ends: whether a voice follows, how long it is. So its end is guessed
    as well, and as in Viterbi's algorithm all ways through the file are followed, until one has more whole blocks.
    most: ways that are followed at a time. patience: blocks in a row that bring nothing before the rest is given up.
    """
    ways = [(_HEADER.size, 0, _Way())]
    best, since = 0, 0
    for n in range(len(blocks)):
        onward: dict[tuple[int, int], _Way] = {}
        for start, doubt, way in ways:  # the best come last, and take the place of others
            end, likely = blocks.end(data, start, n), blocks.likely_ends(data, start, n)
            block = blocks.read(data, start, n) if doubt < GUESSED or end in likely else None
            if block is None:
                places = [(end, GUESSED) for end in likely] + [(end, TOLD)] * (doubt < GUESSED)
                onward.update(dict.fromkeys(places, _Way(way.score, None, way)))
                continue
            ends_well = n == len(blocks) - 1 and end == len(data)
            step = _Way(way.score + WHOLE * (1 + ends_well) - doubt, block, way)
            if onward.get((end, 0), step).score <= step.score:
                onward[end, 0] = step
        ways = sorted(((*place, way) for place, way in onward.items()), key=lambda place: (place[2].score, -place[1]))
        since = 0 if ways[-1][2].score > best else since + 1
        best = ways[-1][2].score
        if since > patience:
            break
        ways = [place for place in ways[-most:] if place[2].score > best - 2 * WHOLE]
    way, found = ways[-1][2], []
    while way.before is not None:
        found.append(way.block)
        way = way.before
    return found[::-1] + [None] * (len(blocks) - len(found))
