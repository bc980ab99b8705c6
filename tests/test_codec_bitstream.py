"""The .mc file: every digit comes back, every bit is counted, and what was damaged is told or left out, never made up."""

from dataclasses import replace

import numpy as np
import pytest

from mien.codec import bitstream, entropy
from mien.codec.tokens import Layout, Tokens

MODEL = "codec-16k"
LAYOUT = Layout()
PLAIN = 1 + bitstream.packed_size((LAYOUT.block, LAYOUT.semantic))  # bytes of a block of S alone
PLAIN_TIERS = bitstream.packed_size((LAYOUT.block, LAYOUT.tier * 3))


def speech(n_samples: int, tiers: int = 3, seed: int = 0, keeps: float = 0.0, layout: Layout = LAYOUT) -> Tokens:
    """Random digits, each as in the frame before with probability `keeps`, and voices as close as they may follow."""
    random = np.random.default_rng(seed)
    n_frames = -(-n_samples // 640)
    levels = np.array(layout.semantic + layout.tier * tiers)
    digits = random.integers(0, levels, (n_frames, len(levels))).astype(np.uint8)
    held = random.random(digits.shape) < keeps
    for t in range(1, n_frames):
        digits[t, held[t]] = digits[t - 1, held[t]]
    starts = np.arange(0, n_frames, layout.block * layout.voice_spacing)
    voice = random.integers(0, layout.voice, (len(starts), len(layout.voice))).astype(np.uint8)
    return Tokens(digits[:, :5], digits[:, 5:].reshape(n_frames, tiers, 5), voice, starts, n_samples, MODEL, layout)


@pytest.fixture(scope="module")
def tables() -> dict[str, np.ndarray]:
    return entropy.fit_tables([speech(16_000 * 120, seed=seed, keeps=0.5) for seed in (100, 101)])


def assert_same(found: Tokens, wanted: Tokens, where: np.ndarray | slice = slice(None)) -> None:
    np.testing.assert_array_equal(found.semantic[where], wanted.semantic[where])
    np.testing.assert_array_equal(found.tiers[where], wanted.tiers[where])
    assert (found.n_samples, found.model, found.layout) == (wanted.n_samples, wanted.model, wanted.layout)


@pytest.mark.parametrize("tiers", range(LAYOUT.tiers + 1))
def test_every_length_comes_back(tiers, tables):
    for frames in range(204):
        tokens = speech(frames * 640 - (frames * 37) % 640, tiers, seed=frames, keeps=0.5)
        for given in (None, tables) if frames % 7 == 0 else (None,):
            reading = bitstream.read(bitstream.write(tokens, given), MODEL, given)
            assert_same(reading.tokens, tokens)
            np.testing.assert_array_equal(reading.tokens.voice, tokens.voice)
            np.testing.assert_array_equal(reading.tokens.voice_starts, tokens.voice_starts)
            assert reading.lost.shape == (frames,) and not reading.lost.any()


def test_the_extreme_digits_come_back():
    for top in (False, True):
        tokens = speech(16_000 * 4)
        pairs = (tokens.semantic, LAYOUT.semantic), (tokens.tiers, LAYOUT.tier), (tokens.voice, LAYOUT.voice)
        for digits, levels in pairs:
            digits[:] = (np.array(levels) - 1) * top
        assert_same(bitstream.read(bitstream.write(tokens), MODEL).tokens, tokens)


@pytest.mark.parametrize(
    ("seconds", "tiers", "limit"), [(8, 0, 0.335), (30, 0, 0.305), (60, 0, 0.305), (30, 3, 1.110), (60, 3, 1.110)]
)
def test_rates_of_plain_files_with_everything_counted(seconds, tiers, limit):
    n_samples = 16_000 * seconds
    assert bitstream.kbps(bitstream.write(speech(n_samples, tiers)), n_samples) <= limit


@pytest.mark.parametrize(("tiers", "limit"), [(0, 0.285), (3, 1.040)])
def test_no_coded_file_from_half_a_minute_on_takes_more(tiers, limit, tables):
    """Digits that are hard to guess are dear; the last frame is nearly empty."""
    for frames in (752, 801, 999, 1600):
        tokens = speech(640 * (frames - 1) + 1, tiers, seed=frames, keeps=0.3)
        assert bitstream.kbps(bitstream.write(tokens, tables), tokens.n_samples) > 0.99 * limit
        kept = bitstream.bounded(tokens, tables)
        data = bitstream.write(kept, tables)
        assert bitstream.kbps(data, tokens.n_samples) <= limit
        assert_same(bitstream.read(data, MODEL, tables).tokens, kept)


def test_digits_that_are_cheap_enough_are_left_alone():
    tokens = speech(16_000 * 40)
    tokens.semantic[:] = 1
    tokens.tiers[:] = 2
    assert_same(bitstream.bounded(tokens, entropy.fit_tables([tokens])), tokens)


def test_a_recording_without_samples_is_a_header():
    data = bitstream.write(speech(0))
    assert len(data) == 12 and bitstream.kbps(data, 0) == 0
    assert len(bitstream.read(data, MODEL).tokens) == 0
    assert len(bitstream.read(data, MODEL, damaged="conceal").tokens) == 0


def test_a_file_is_cut_down_to_a_lower_rate():
    tokens = speech(16_000 * 7)
    whole = bitstream.read(bitstream.write(tokens), MODEL).tokens
    for n in range(4):
        smaller = bitstream.read(bitstream.write(whole.with_tiers(n)), MODEL).tokens
        assert_same(smaller, tokens.with_tiers(n))


@pytest.mark.parametrize("coded", [False, True])
def test_every_damaged_byte_is_told(coded, tables):
    given = tables if coded else None
    data = bitstream.write(speech(16_000 * 5, 1, keeps=0.5), given)
    for at in range(len(data)):
        with pytest.raises(ValueError, match=r"^[^\n]+: [^\n]+\.$"):
            bitstream.read(_flipped(data, at, 0xFF if at % 3 else 1 << at % 8), MODEL, given)


@pytest.mark.parametrize(("tiers", "coded", "step"), [(0, False, 1), (3, False, 5), (0, True, 7), (3, True, 97)])
def test_a_damaged_block_costs_only_itself(tiers, coded, step, tables):
    given = tables if coded else None
    tokens = speech(16_000 * 17, tiers, keeps=0.5)
    data = bitstream.write(tokens, given)
    heard = set()
    for at in range(12, len(data), step):
        reading = bitstream.read(_flipped(data, at, 1 << at % 8), MODEL, given, damaged="conceal")
        lost = np.flatnonzero(reading.lost)
        block = lost[0] // LAYOUT.block
        assert lost.tolist() == list(range(block * 50, min(block * 50 + 50, len(tokens)))), at
        assert_same(reading.tokens, tokens, ~reading.lost)
        assert reading.tokens.voice_starts[0] == 0
        heard.add(block)
    assert heard == set(range(9))


@pytest.mark.parametrize("tiers", [0, 3])
def test_a_hole_in_a_file_costs_the_blocks_it_touches(tiers):
    tokens = speech(16_000 * 60, tiers)
    data = bitstream.write(tokens)
    sizes = [PLAIN + PLAIN_TIERS * (tiers > 0) + 7 * (n % LAYOUT.voice_spacing == 0) for n in range(30)]
    begins = 12 + np.cumsum([0, *sizes])
    for first in range(2, 26, 3):
        hole = slice(begins[first] + 20, begins[first + 3] + 20)  # touches four blocks
        harmed = data[: hole.start] + bytes(hole.stop - hole.start) + data[hole.stop :]
        reading = bitstream.read(harmed, MODEL, damaged="conceal")
        outside = (np.arange(1500) < first * 50) | (np.arange(1500) >= (first + 4) * 50)
        assert not reading.lost[outside].any()
        assert_same(reading.tokens, tokens, outside)


def test_a_lost_voice_is_replaced_by_its_neighbour():
    layout = LAYOUT
    tokens = speech(640 * layout.block * (layout.voice_spacing + 2), 0)
    data = bitstream.write(tokens)
    first = bitstream.read(_flipped(data, 15, 8), MODEL, damaged="conceal").tokens
    np.testing.assert_array_equal(first.voice, tokens.voice[1:])
    assert first.voice_starts.tolist() == [0]
    later = bitstream.read(_flipped(data, 12 + 7 + PLAIN * layout.voice_spacing + 9, 8), MODEL, damaged="conceal")
    np.testing.assert_array_equal(later.tokens.voice, tokens.voice[:1])
    assert later.lost.sum() == layout.block
    only = bitstream.read(_flipped(bitstream.write(speech(16_000 * 4, 0)), 15, 8), MODEL, damaged="conceal").tokens
    assert len(only.voice) == 1 and (only.voice_of_frames() == 0).all()


@pytest.mark.parametrize("coded", [False, True])
def test_a_file_that_was_cut_off(coded, tables):
    given = tables if coded else None
    tokens = speech(16_000 * 9, keeps=0.5)
    data = bitstream.write(tokens, given)
    for kept in (1, 4, 11, 12, 13, 14, 100, 400, len(data) - 8, len(data) - 1):
        with pytest.raises(ValueError, match="cut off"):
            bitstream.read(data[:kept], MODEL, given)
    reading = bitstream.read(data[:-1], MODEL, given, damaged="conceal")
    assert reading.lost.tolist() == [t >= 200 for t in range(225)]
    assert_same(reading.tokens, tokens, ~reading.lost)
    with pytest.raises(ValueError, match="no block"):
        bitstream.read(data[:13], MODEL, given, damaged="conceal")
    with pytest.raises(ValueError, match="goes on for 2 bytes"):
        bitstream.read(data + b"\0\0", MODEL, given)


def test_foreign_files_are_named(tables):
    data = bitstream.write(speech(16_000))
    for foreign in (b"", b"RIFF\x24\x08\0\0WAVEfmt ", b"OggS" + bytes(40), bytes(100)):
        with pytest.raises(ValueError, match="no mien file"):
            bitstream.read(foreign, MODEL)
    with pytest.raises(ValueError, match="format 2, written by a newer mien"):
        bitstream.read(data[:4] + b"\x02" + data[5:], MODEL)
    with pytest.raises(ValueError, match="another codec than 'codec-16k-v2'"):
        bitstream.read(data, "codec-16k-v2")
    coded = bitstream.write(speech(16_000 * 9, keeps=0.5), tables)
    with pytest.raises(ValueError, match="entropy-coded"):
        bitstream.read(coded, MODEL)
    other = entropy.fit_tables([speech(16_000, keeps=0.9)])
    with pytest.raises(ValueError, match="damaged"):
        bitstream.read(coded, MODEL, other)


def test_a_damaged_header_gives_nothing():
    data = bitstream.write(speech(16_000 * 9))
    for at in range(12):
        with pytest.raises(ValueError):
            bitstream.read(_flipped(data, at, 1), MODEL, damaged="conceal")


def test_tokens_that_fit_no_layout_are_not_written():
    tokens = speech(16_000 * 3)
    for wrong in (
        replace(tokens, semantic=tokens.semantic + 3),
        replace(tokens, tiers=tokens.tiers[:-1]),
        replace(tokens, n_samples=16_000 * 2),
        replace(tokens, voice=tokens.voice[:0]),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            bitstream.write(wrong)
    for starts in ([50], [0, 51], [0, 0], [0, 100]):
        voice = np.repeat(tokens.voice, len(starts), axis=0)
        with pytest.raises(ValueError, match="multiple of 50"):
            bitstream.write(replace(tokens, voice=voice, voice_starts=np.array(starts)))


@pytest.mark.parametrize("tiers", [0, 3])
def test_entropy_coding_saves_what_can_be_guessed(tiers, tables):
    """Digits that stay with probability 0.5 hold 23 % less than they have room for."""
    tokens = speech(16_000 * 30, tiers, seed=7, keeps=0.5)
    plain, coded = bitstream.write(tokens), bitstream.write(tokens, tables)
    assert len(coded) < 0.85 * len(plain)
    assert_same(bitstream.read(coded, MODEL, tables).tokens, tokens)


def test_entropy_coding_is_left_where_it_would_cost(tables):
    tokens = speech(16_000 * 30, seed=8)
    assert bitstream.write(tokens, tables) == bitstream.write(tokens)


def test_tables_are_whole_numbers_that_add_up(tables):
    frequencies = tables["frequencies"]
    assert frequencies.dtype == np.uint16
    assert (frequencies.sum(-1) == 4096).all()
    assert (frequencies[:4] > 0).all() and (frequencies[4:, ..., :3] > 0).all()


def test_tables_can_code_what_they_have_never_seen():
    tokens = speech(16_000 * 4)
    still = replace(tokens, semantic=tokens.semantic * 0, tiers=tokens.tiers * 0)
    coder = entropy.Coder(entropy.fit_tables([still] * 30), LAYOUT)
    digits = np.concatenate([tokens.semantic, tokens.tiers.reshape(100, 15)], axis=1)
    np.testing.assert_array_equal(coder.decode(coder.encode(digits), 100, 3), digits)
    calm = np.zeros_like(digits)
    assert len(coder.encode(calm)) < 10
    np.testing.assert_array_equal(coder.decode(coder.encode(calm), 100, 3), calm)


def test_tables_of_another_layout_are_refused(tables):
    with pytest.raises(ValueError, match="fit them to its tokens"):
        entropy.Coder(tables, replace(LAYOUT, tiers=2))
    with pytest.raises(ValueError, match="none"):
        entropy.fit_tables([])


def _flipped(data: bytes, at: int, flip: int) -> bytes:
    return data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
