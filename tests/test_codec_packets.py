"""Live packets: what the network loses costs what it carried, and nothing that is played was never said."""

import copy

import numpy as np
import pytest

from mien.codec.packets import NUMBERS, Frame, Packer, Unpacker
from mien.codec.tokens import Layout

LAYOUT = Layout()


def frames_of_speech(n: int, tiers: int = 3, voices: tuple[int, ...] = (0,), seed: int = 0) -> list[Frame]:
    random = np.random.default_rng(seed)
    semantic = random.integers(0, LAYOUT.semantic, (n, 5)).astype(np.uint8)
    enhancement = random.integers(0, LAYOUT.tier, (n, tiers, 5)).astype(np.uint8)
    voice = random.integers(0, LAYOUT.voice, (n, 24)).astype(np.uint8)
    return [Frame(semantic[i], enhancement[i], voice[i] if i in voices else None) for i in range(n)]


def packets_of(frames: list[Frame], packer: Packer | None = None) -> list[bytes]:
    packer = packer or Packer()
    pushed = [packer.push(frame) for frame in frames] + [packer.flush()]
    return [packet for packet in pushed if packet is not None]


def received(arrivals: list[bytes], unpacker: Unpacker | None = None) -> list[Frame]:
    unpacker = unpacker or Unpacker()
    frames = [frame for packet in arrivals for frame in unpacker.push(packet)]
    while unpacker.early:
        frames += unpacker.missing()
    return frames


def assert_true(found: list[Frame], said: list[Frame]) -> None:
    """Whatever is there is what was said at that place."""
    for got, wanted in zip(found, said, strict=True):
        if got.received != "lost":
            np.testing.assert_array_equal(got.semantic, wanted.semantic)
        if got.received == "full":
            np.testing.assert_array_equal(got.tiers, wanted.tiers)
        if got.received != "full":
            assert len(got.tiers) == 0 and got.voice is None


def states(frames: list[Frame]) -> str:
    return "".join(frame.received[0] for frame in frames)


@pytest.mark.parametrize("tiers", range(4))
@pytest.mark.parametrize("bundle", [1, 3, 5])
def test_speech_comes_through(tiers, bundle):
    for n in range(1, 12):
        said = frames_of_speech(n, tiers, seed=n)
        found = received(packets_of(said, Packer(bundle)), Unpacker(bundle))
        assert states(found) == "f" * n
        assert_true(found, said)


def test_a_voice_comes_with_its_packet_and_again_later():
    said = frames_of_speech(90, voices=(0, 31))
    found = received(packets_of(said, Packer(voice_every=8)))
    assert [t for t, frame in enumerate(found) if frame.voice is not None] == [0, 24, 30, 54, 78]
    for t, source in ((0, 0), (24, 0), (30, 31), (54, 31), (78, 31)):
        np.testing.assert_array_equal(found[t].voice, said[source].voice)


def test_one_lost_packet_is_heard_at_the_base_rate():
    said = frames_of_speech(18)
    packets = packets_of(said)
    found = received(packets[:2] + packets[3:])
    assert states(found) == "ffffff" + "bbb" + "fffffffff"
    assert_true(found, said)
    found = received(packets[:2] + packets[4:])
    assert states(found) == "ffffff" + "lll" + "bbb" + "ffffff"
    assert_true(found, said)


def test_packets_may_change_places_and_come_twice():
    said = frames_of_speech(18)
    packets = packets_of(said)
    for order in ([1, 0, 2, 3, 4, 5], [0, 2, 1, 3, 5, 4], [0, 0, 1, 2, 1, 3, 3, 4, 5, 5], [1, 0, 3, 2, 5, 4]):
        found = received([packets[i] for i in order])
        assert states(found) == "f" * 18
        assert_true(found, said)


def test_a_packet_after_its_turn_is_not_played():
    said = frames_of_speech(9)
    packets = packets_of(said)
    unpacker = Unpacker()
    assert states(unpacker.push(packets[0])) == "fff"
    assert states(unpacker.missing()) == "lll"
    assert unpacker.push(packets[1]) == []
    assert states(unpacker.push(packets[2])) == "fff"


def test_waiting_ends_when_the_player_says_so():
    packets = packets_of(frames_of_speech(9))
    unpacker = Unpacker()
    assert unpacker.push(packets[1]) == []
    assert states(unpacker.missing()) == "bbb" + "fff"


def test_one_damaged_packet_costs_only_itself():
    said = frames_of_speech(12)
    packets = packets_of(said)
    for at in range(len(packets[1])):
        for flip in (1 << at % 8, 0xFF):
            harmed = bytearray(packets[1])
            harmed[at] ^= flip
            found = received([packets[0], bytes(harmed), *packets[2:]])
            assert states(found) == "fff" + "bbb" + "ffffff"
            assert_true(found, said)
    for foreign in (b"", b"\0", b"\0\0\0\0", packets[1][:-1], packets[1] + b"\0"):
        assert Unpacker().push(foreign) == []


def test_numbers_go_round():
    packer = Packer(bundle=1, number=NUMBERS - 3)
    said = frames_of_speech(8, tiers=0)
    packets = packets_of(said, packer)
    found = received(packets[:2] + packets[3:], Unpacker(bundle=1, turn=NUMBERS - 3))
    assert states(found) == "ffbfffff"
    assert_true(found, said)


def test_a_stray_packet_is_not_believed_alone():
    said = frames_of_speech(18)
    packets = packets_of(said)
    stray = packets_of(frames_of_speech(3, seed=1), Packer(number=1500))
    for twice in (1, 2):
        found = received([*packets[:2], *stray * twice, *packets[2:]])
        assert states(found) == "f" * 18
        assert_true(found, said)
    assert states(received(packets + stray)) == "f" * 18


def test_a_line_that_was_dead_for_long_goes_on_in_time():
    said = frames_of_speech(600)
    packets = packets_of(said)
    found = received(packets[:10] + packets[100:])
    assert states(found) == "f" * 30 + "l" * 267 + "b" * 3 + "f" * 300
    assert_true(found, said)


def test_states_are_values():
    said = frames_of_speech(12)
    packer, unpacker = Packer(), Unpacker()
    for frame in said[:5]:
        packet = packer.push(frame)
        if packet:
            unpacker.push(packet)
    twin, twin_unpacker = copy.deepcopy(packer), copy.deepcopy(unpacker)
    first, second = packets_of(said[5:], packer), packets_of(said[5:], twin)
    assert first == second
    assert states(received(first, unpacker)) == states(received(second, twin_unpacker)) == "f" * 9


def test_ten_per_cent_of_bursts():
    """A Gilbert channel: a tenth of all packets is lost, two in a row on average; some change places or come twice."""
    random = np.random.default_rng(5)
    said = frames_of_speech(6000, voices=tuple(range(0, 6000, 300)))
    packets = packets_of(said)
    through = [True]
    while len(through) < len(packets):
        through.append(bool(random.random() < (1 - 0.5 / 9 if through[-1] else 0.5)))
    channel = [packet for packet, there in zip(packets, through, strict=True) if there]
    channel = [packet for packet in channel for _ in range(1 + int(random.random() < 0.05))]
    for i in range(0, len(channel) - 1, 2):
        if random.random() < 0.1:
            channel[i], channel[i + 1] = channel[i + 1], channel[i]
    found = received(channel)
    assert_true(found, said[: len(found)])

    fates = ["f" if here else "b" if after else "l" for here, after in zip(through, [*through[1:], False], strict=True)]
    assert states(found) == "".join(fate * 3 for fate in fates)[: len(found)]
    assert 0.08 < 1 - np.mean(through) < 0.13
    assert states(found).count("l") / len(said) < 0.07  # half of what was lost is heard at the base rate


def test_rates():
    """A packet of three frames: what the wire carries, in kbit/s, without voices."""
    for tiers, limit in ((0, 0.87), (3, 1.61)):
        packet = packets_of(frames_of_speech(6, tiers))[1]
        assert 8 * len(packet) / 0.12 / 1000 <= limit
