"""Media in and out: what users bring is read as it is meant, films keep time, nothing half-made stays behind."""

import io
import itertools
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import soundfile

from mien.media import film, limits
from mien.media.film import probe, read_frames, write_film
from mien.media.image import load_image, save_image, sheet
from mien.media.sound import Sound, audio_frame, load_sound, save_sound

# ------------------------------------------------------------------------------------------------ things to test with


def tone(frequency: float, rate: int, duration_s: float = 1.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency * np.arange(round(duration_s * rate)) / rate)).astype(np.float32)


def loudest_hz(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return spectrum.argmax() * rate / len(samples)


def patches(height: int, width: int) -> np.ndarray:
    """Two rows of four colours, skin among them."""
    colours = [
        [190, 40, 40],
        [40, 150, 60],
        [50, 60, 170],
        [235, 235, 235],
        [20, 20, 20],
        [128, 128, 128],
        [224, 172, 140],
        [92, 58, 40],
    ]
    grid = np.array(colours, np.uint8).reshape(2, 4, 3)
    rows, columns = np.arange(height) * 2 // height, np.arange(width) * 4 // width
    return grid[rows][:, columns]


def grey_frames(n: int, height: int, width: int):
    """Frame i is grey 5 + 7 i throughout: its order can be read from its level."""
    for i in range(n):
        yield np.full((height, width, 3), 5 + 7 * i, np.uint8)


def order(frames) -> list[int]:
    return [round((float(frame.mean()) - 5) / 7) for frame in frames]


def raw_film(path: Path, times_s: list[float], levels: list[int]) -> None:
    """A film of grey frames with time stamps of one's own, as a telephone makes it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_s, level in zip(times_s, levels, strict=True):
            picture = np.full((48, 64, 3), level, np.uint8)
            picture[:12, :16] = 255 - level  # a mark in the upper left corner
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def sentence(error: pytest.ExceptionInfo) -> str:
    """The error's words, which must be one sentence that says what to do."""
    text = str(error.value)
    assert text.endswith(".") and "\n" not in text and ": " in text
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """voice.wav, film.mp4 with sound, silent.mp4, face.png."""
    root = tmp_path_factory.mktemp("media")
    save_sound(root / "voice.wav", Sound(tone(440, 16000)[:, None], 16000))
    save_image(root / "face.png", patches(48, 64))
    sound = Sound(np.stack([tone(440, 44100, 3), tone(880, 44100, 3, 0.25)], 1), 44100)
    write_film(root / "film.mp4", grey_frames(31, 49, 65), sound, metadata={"comment": "made by a test"})
    write_film(root / "silent.mp4", grey_frames(3, 32, 32))
    return root


# ------------------------------------------------------------------------------------------------------------- pictures


def test_a_picture_is_the_same_from_path_bytes_pil_numpy_and_torch(folder):
    torch = pytest.importorskip("torch")
    expected = patches(48, 64)
    file = (folder / "face.png").read_bytes()
    as_float = expected / np.float32(255)
    chw = torch.from_numpy(expected).permute(2, 0, 1)
    for source in (
        folder / "face.png",
        str(folder / "face.png"),
        file,
        PIL.Image.fromarray(expected),
        expected,
        as_float,
        expected.astype(np.uint16) * 257,
        chw,
        chw.float() / 255,
        torch.from_numpy(as_float),
    ):
        np.testing.assert_array_equal(load_image(source), expected)


def test_exif_rotation_is_undone(tmp_path):
    upright = patches(48, 80)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was held a quarter turn to the left
    stored = PIL.Image.fromarray(np.rot90(upright).copy())
    stored.save(tmp_path / "phone.jpg", exif=exif, quality=98, subsampling=0)
    loaded = load_image(tmp_path / "phone.jpg")
    assert loaded.shape == upright.shape
    assert np.abs(loaded.astype(int) - upright).mean() < 3


def test_alpha_lies_on_white_unless_told():
    rgba = np.dstack([patches(32, 32), np.full((32, 32), 255, np.uint8)])
    rgba[:16, :, 3] = 0
    rgba[16:, :16, 3] = 128
    buffer = io.BytesIO()
    PIL.Image.fromarray(rgba).save(buffer, "PNG")
    for source in (rgba, buffer.getvalue(), PIL.Image.fromarray(rgba)):
        white, black = load_image(source), load_image(source, background=(0, 0, 0))
        assert (white[:16] == 255).all() and (black[:16] == 0).all()
        half = rgba[16:, :16, :3] * (128 / 255)
        assert np.abs(white[16:, :16] - (half + 127)).max() <= 1 and np.abs(black[16:, :16] - half).max() <= 1
        np.testing.assert_array_equal(white[16:, 16:], rgba[16:, 16:, :3])


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_grey_keeps_its_levels(tmp_path, suffix):
    levels = np.tile(np.arange(256, dtype=np.uint16) * 257, (32, 1))
    PIL.Image.fromarray(levels).save(tmp_path / f"deep.{suffix}")
    np.testing.assert_array_equal(load_image(tmp_path / f"deep.{suffix}")[0, :, 1], np.arange(256))


def test_grey_palette_cmyk_and_one_bit_pictures(tmp_path):
    picture = PIL.Image.fromarray(patches(48, 64))
    picture.convert("L").save(tmp_path / "grey.png")
    picture.quantize(16).save(tmp_path / "palette.png")
    picture.convert("CMYK").save(tmp_path / "print.jpg", quality=98)
    picture.convert("1").save(tmp_path / "bit.png")
    assert (np.ptp(load_image(tmp_path / "grey.png"), axis=2) == 0).all()
    np.testing.assert_array_equal(load_image(tmp_path / "palette.png"), patches(48, 64))
    assert np.abs(load_image(tmp_path / "print.jpg").astype(int) - patches(48, 64)).mean() < 3
    assert set(np.unique(load_image(tmp_path / "bit.png"))) == {0, 255}


def test_an_embedded_colour_profile_is_applied(tmp_path):
    srgb = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))  # a space whose red is our blue
    for curve in (b"XYZ", b"TRC"):
        swapped = swapped.replace(b"r" + curve, b"_" + curve).replace(b"b" + curve, b"r" + curve)
        swapped = swapped.replace(b"_" + curve, b"b" + curve)
    picture = PIL.Image.fromarray(patches(48, 64))
    for name, profile in (("srgb", srgb), ("swapped", swapped), ("broken", b"no profile at all")):
        picture.save(tmp_path / f"{name}.png", icc_profile=profile)
        expected = patches(48, 64)[..., ::-1] if name == "swapped" else patches(48, 64)
        assert np.abs(load_image(tmp_path / f"{name}.png").astype(int) - expected).max() <= (name == "swapped")


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path, suffix):
    red, blue = (PIL.Image.new("RGB", (32, 24), colour) for colour in ("red", "blue"))
    red.save(tmp_path / f"moving.{suffix}", save_all=True, append_images=[blue], duration=40)
    loaded = load_image(tmp_path / f"moving.{suffix}").astype(int)
    assert loaded.shape == (24, 32, 3) and np.abs(loaded - [255, 0, 0]).max() <= 4


def test_pictures_that_cannot_be_taken_say_why(tmp_path, folder):
    png = (folder / "face.png").read_bytes()
    (tmp_path / "empty.png").touch()
    (tmp_path / "words.jpg").write_text("this is a letter, not a face " * 9)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    save_image(tmp_path / "cut.png", noise)
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:3000])
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    bomb = bytearray(png)
    bomb[16:24] = bytes.fromhex("0000ea60 00009c40")  # 60000 x 40000 pixels, says the header
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(bomb)
    cases = [
        (tmp_path / "none.png", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "empty.png", "is an empty file"),
        (tmp_path / "words.jpg", "is no picture"),
        (tmp_path / "cut.png", "cut short"),
        (tmp_path / "phone.heic", "HEIC"),
        (tmp_path / "bomb.png", "too large"),
        (folder / "voice.wav", "voice.wav is a sound, not a picture: give it as the audio"),
        (folder / "film.mp4", "film.mp4 is a film"),
        (np.zeros((15, 64, 3), np.uint8), "64 x 15"),
        (b"", "empty"),
        (np.zeros((4, 64, 64, 3)), "shape (4, 64, 64, 3)"),
        (np.full((32, 32), 200.0), "floats from 200 to 200"),
        (np.full((32, 32), np.nan), "NaN"),
        (np.zeros((32, 32), np.int64), "int64"),
        (7, "came as int"),
        (None, "NoneType"),
    ]
    for source, words in cases:
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            load_image(source)
        assert words in sentence(error)
    with pytest.raises(ValueError, match="at most 0.002 are taken"):
        load_image(png, max_pixels=2000)


def test_the_size_is_checked_before_anything_is_decoded(tmp_path):
    PIL.Image.new("1", (9000, 9000)).save(tmp_path / "large.png")  # 81 megapixels in 10 kB
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PIL.Image.Image, "load", lambda self: pytest.fail("it was decoded"))
        with pytest.raises(ValueError, match="9000 x 9000 = 81.0 megapixels, at most 50 are taken"):
            load_image(tmp_path / "large.png")


def test_save_image_comes_back_and_refuses_unknown_endings(tmp_path):
    save_image(tmp_path / "a.png", patches(33, 47))
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), patches(33, 47))
    with pytest.raises(ValueError, match=".png, .jpg, .jpeg, .webp"):
        save_image(tmp_path / "a.xyz", patches(33, 47))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_sheet_shows_each_picture_in_its_place():
    page = sheet(grey_frames(5, 60, 80), columns=3, width=40, labels=["one", "two"])
    assert page.shape == (60, 120, 3)
    centres = [int(page[row * 30 + 22, column * 40 + 20, 0]) for row in (0, 1) for column in (0, 1, 2)]
    assert centres == [5, 12, 19, 26, 33, 255]
    assert page[:15, :40].max() > 200 and page[:15, 80:].max() < 50  # written on, and not


# ---------------------------------------------------------------------------------------------------------------- sound


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_any_rate_keeps_frequency_and_level(tmp_path, rate):
    soundfile.write(tmp_path / "tone.wav", tone(440, rate), rate)
    sound = load_sound(tmp_path / "tone.wav")
    mono = sound.mono()
    assert (sound.sample_rate, sound.samples.shape, len(mono)) == (rate, (rate, 1), 16000)
    middle = slice(1600, -1600)
    np.testing.assert_allclose(mono[middle], tone(440, 16000)[middle], atol=2e-4)  # 16 bits and no delay


def test_what_16_khz_cannot_hold_does_not_fold_back():
    assert np.abs(Sound(tone(10_000, 44100)[:, None], 44100).mono()[800:-800]).max() < 1e-3


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("mp3", "libmp3lame"),
        ("ogg", "libopus"),
        ("m4a", "aac"),
        ("flac", "flac"),
        ("mka", "pcm_s24le"),
        ("aiff", "pcm_s16be"),
    ],
)
def test_other_containers_are_read_in_time(tmp_path, suffix, codec):
    """A burst at 0.5 s is found at 0.5 s: lead-ins of encoders are cut."""
    rate = 48000
    samples = np.zeros((rate, 2), np.float32)
    samples[rate // 2 : rate // 2 + 480] = np.stack([tone(1000, rate, 0.01), tone(1000, rate, 0.01)], 1)
    with av.open(str(tmp_path / f"burst.{suffix}"), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        container.mux([*stream.encode(audio_frame(samples, rate, 0, 2)), *stream.encode(None)])
    sound = load_sound(tmp_path / f"burst.{suffix}")
    centre = np.average(np.arange(len(sound.samples)), weights=(sound.samples.astype(float) ** 2).sum(1))
    assert sound.samples.shape[1] == 2 and sound.sample_rate == rate
    assert centre / rate == pytest.approx(0.505, abs=0.0005)
    assert sound.duration_s == pytest.approx(1.0, abs=0.03)
    assert load_sound((tmp_path / f"burst.{suffix}").read_bytes()).samples.shape == sound.samples.shape


def test_pairs_come_in_either_order_type_and_layout():
    expected = np.stack([tone(440, 8000), tone(660, 8000)], 1)
    whole = np.round(expected * 32768).astype(np.int16)
    cases = [
        (8000, whole),
        (whole, 8000),
        (8000, whole.T),
        (expected, 8000),
        (expected.astype(float), np.int64(8000)),
        ((whole.astype(np.int32) << 16), 8000),
        (8000.0, expected),
        [8000, expected.tolist()],
        Sound(expected, 8000),
        ((whole.astype(np.int32) + 32768).astype(np.uint16), 8000),
    ]
    for source in cases:
        sound = load_sound(source)
        assert (sound.sample_rate, sound.samples.dtype) == (8000, np.float32)
        np.testing.assert_allclose(sound.samples, expected, atol=2e-5)
    np.testing.assert_allclose(load_sound((expected, 8000)).mono(8000), expected.mean(1), atol=1e-6)


def test_more_than_two_channels_are_mixed(tmp_path):
    soundfile.write(tmp_path / "surround.wav", np.tile(tone(440, 48000)[:, None], (1, 6)), 48000)
    sound = load_sound(tmp_path / "surround.wav")
    assert sound.samples.shape[1] == 2 and loudest_hz(sound.mono(), 16000) == pytest.approx(440, abs=2)


def test_sounds_that_cannot_be_taken_say_why(tmp_path, folder):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "words.wav").write_text("la la la " * 99)
    (tmp_path / "words.txt").write_text("la la la " * 99)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n")
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0, np.float32), 16000)
    (tmp_path / "cut.mp4").write_bytes((folder / "film.mp4").read_bytes()[:900])
    cases = [
        (tmp_path / "none.wav", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "empty.wav", "is an empty file"),
        (tmp_path / "words.wav", "no readable wav"),
        (tmp_path / "words.txt", "is no sound"),
        (tmp_path / "cut.mp4", "cut short"),
        (tmp_path / "list.m3u8", "is no sound"),
        (tmp_path / "nothing.wav", "is empty"),
        (folder / "face.png", "face.png is a picture, not a sound: give it as the image"),
        (folder / "silent.mp4", "silent.mp4 is a film without sound"),
        ((16000, np.zeros(0)), "is empty"),
        ((16000, np.array([0.0, np.nan])), "NaN"),
        ((16000, np.array([0.0, np.inf])), "NaN"),
        ((16000, np.array([0.0, 9000.0])), "up to 9000"),
        ((0, tone(440, 8000)), "sample rate of 0"),
        ((22050.5, tone(440, 8000)), "22050.5 Hz"),
        ((np.zeros(9), np.zeros(9)), "a pair without a number"),
        ((16000, np.zeros((99, 99))), "99 channels"),
        ((16000, np.zeros((2, 2, 2))), "shape (2, 2, 2)"),
        ((16000, np.array(["a"])), "type <U1"),
        (5, "came as int"),
        ((1000, np.zeros(7_200_001)), "lasts 120.0 minutes"),
    ]
    for source, words in cases:
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            load_sound(source)
        assert words in sentence(error)


def test_save_sound_comes_back(tmp_path):
    sound = Sound(np.stack([tone(440, 24000), tone(330, 24000)], 1), 24000)
    for suffix in ("wav", "flac"):
        save_sound(tmp_path / f"a.{suffix}", sound)
        back = load_sound(tmp_path / f"a.{suffix}")
        assert back.sample_rate == 24000 and np.abs(back.samples - sound.samples).max() < 1e-4
    for suffix in ("ogg", "mp3"):
        save_sound(tmp_path / f"a.{suffix}", Sound(sound.samples, 96000))
        assert load_sound(tmp_path / f"a.{suffix}").duration_s == pytest.approx(len(sound.samples) / 96000, abs=0.06)
    with pytest.raises(ValueError, match=".wav, .flac, .ogg, .mp3"):
        save_sound(tmp_path / "a.aac", sound)
    assert Sound.silence(0.5, 8000, 2).samples.shape == (4000, 2)


def test_a_soundtrack_starts_with_the_first_picture(tmp_path):
    """Sound that sets in 0.4 s after the pictures gets 0.4 s of silence before it."""
    with av.open(str(tmp_path / "late.mp4"), "w") as container:
        video, audio = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=16000, layout="mono")
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for i in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), format="rgb24")
            frame.pts = i
            container.mux(video.encode(frame))
        frame = audio_frame(tone(440, 16000)[:, None], 16000, 6400, 1)
        container.mux([*video.encode(None), *audio.encode(frame), *audio.encode(None)])
    mono = load_sound(tmp_path / "late.mp4").mono()
    loud = np.flatnonzero(np.abs(mono) > 0.2)
    assert loud[0] / 16000 == pytest.approx(0.4, abs=0.005) and loud[-1] / 16000 == pytest.approx(1.4, abs=0.005)


# ---------------------------------------------------------------------------------------------------------------- films


def test_a_film_comes_back_in_order_with_its_sound(folder):
    facts = probe(folder / "film.mp4")
    assert (facts.size, facts.fps, facts.has_sound) == ((66, 50), 25.0, True)  # odd sides have grown by one
    assert facts.duration_s == pytest.approx(31 / 25)
    assert order(read_frames(folder / "film.mp4")) == list(range(31))
    assert order(read_frames((folder / "film.mp4").read_bytes())) == list(range(31))
    sound = load_sound(folder / "film.mp4")
    assert (sound.sample_rate, sound.samples.shape) == (44100, (44100 * 31 // 25, 2))
    for channel, expected in enumerate((tone(440, 44100, 31 / 25), tone(880, 44100, 31 / 25, 0.25))):
        assert (sound.samples[:, channel] - expected).std() < 0.03 * expected.std()  # 30 dB


def test_the_written_film_is_tagged_and_starts_fast(folder):
    data = (folder / "film.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(folder / "film.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        context = video.codec_context
        assert (context.name, context.pix_fmt, audio.codec_context.name) == ("h264", "yuv420p", "aac")
        assert (context.color_range, context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1, 1)
        assert (video.frames, video.average_rate, container.metadata["comment"]) == (31, 25, "made by a test")
        assert video.duration * video.time_base == Fraction(31, 25)
        assert abs(audio.duration * audio.time_base - Fraction(31, 25)) <= Fraction(1, 44100)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_sound_is_as_long_as_the_frames_in_every_container(tmp_path, suffix, rate):
    for n, heard_s in ((7, 3.0), (33, 0.5)):  # cut, and filled with silence
        path = tmp_path / f"{n}.{suffix}"
        write_film(path, grey_frames(n, 32, 48), Sound(tone(440, rate, heard_s)[:, None], rate))
        sound = load_sound(path)
        assert order(read_frames(path)) == list(range(n))
        assert abs(sound.duration_s - n / 25) <= 1 / sound.sample_rate
        assert np.abs(sound.mono()[round(heard_s * 16000) + 500 :]).max(initial=0) < 0.01


@pytest.mark.parametrize(("suffix", "height"), [("mp4", 240), ("mp4", 720), ("mov", 240), ("mkv", 240), ("webm", 240)])
def test_colours_survive_the_film(tmp_path, suffix, height):
    picture = patches(height, 320)
    write_film(tmp_path / f"a.{suffix}", [picture] * 3)
    for frame in read_frames(tmp_path / f"a.{suffix}"):
        error = np.abs(frame.astype(int) - picture)
        assert error.mean() < 3 and np.median(error) <= 2


def test_odd_sides_grow_by_repetition(tmp_path):
    picture = patches(49, 65)
    write_film(tmp_path / "odd.mkv", [picture] * 2, crf=1)
    frame = next(read_frames(tmp_path / "odd.mkv")).astype(int)
    assert frame.shape == (50, 66, 3)
    assert np.abs(frame[49] - frame[48]).max() <= 8 and np.abs(frame[:, 65] - frame[:, 64]).max() <= 8


def alpha_of(path: Path) -> list[np.ndarray]:
    """What a player that shows films over others would take for the opacity of each frame, 0 … 255."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = av.CodecContext.create("libvpx-vp9", "r") if path.suffix == ".webm" else stream.codec_context
        decoded = [frame for packet in container.demux(stream) for frame in decoder.decode(packet if packet.size else None)]
    return [frame.reformat(format="rgba").to_ndarray()[..., 3] for frame in decoded]


@pytest.mark.parametrize("suffix", ["mov", "webm"])
def test_alpha_survives_the_film(tmp_path, suffix):
    frames = np.zeros((6, 64, 96, 4), np.uint8)
    frames[..., 0] = 200
    for i, frame in enumerate(frames):
        frame[..., 3] = np.clip((np.arange(96) - 20 - 4 * i) * 4, 0, 255)  # an edge that wanders
    path = tmp_path / f"cut.{suffix}"
    write_film(path, frames, Sound(tone(440, 16000, 0.24)[:, None], 16000))
    seen = alpha_of(path)
    assert len(seen) == 6 and probe(path).has_sound
    for alpha, frame in zip(seen, frames, strict=True):
        assert np.abs(alpha.astype(int) - frame[..., 3]).max() <= 8
    assert np.abs(next(read_frames(path))[:, 90].astype(int) - (200, 0, 0)).max() < 8


def test_alpha_goes_only_where_it_is_carried(tmp_path):
    for name in ("a.mp4", "a.mkv"):
        with pytest.raises(ValueError) as told:
            write_film(tmp_path / name, [np.zeros((32, 32, 4), np.uint8)])
        assert sentence(told).endswith("choose .mov (ProRes 4444) or .webm (VP9).")
    assert not list(tmp_path.iterdir())


def test_variable_frame_rate_becomes_constant(tmp_path):
    """Frame n is what is shown at n / 25 s: repeated over a long one, left out where they come too fast."""
    times = [0.0, 0.04, 0.20, 0.21, 0.22, 0.24, 0.30, 0.50]
    raw_film(tmp_path / "phone.mp4", times, [20 + 25 * i for i in range(8)])
    levels = [round((float(frame[20:, 20:].mean()) - 20) / 25) for frame in read_frames(tmp_path / "phone.mp4")]
    expected = [max(i for i, start in enumerate(times) if start <= n / 25 + 1e-6) for n in range(len(levels))]
    assert levels == expected and 13 <= len(levels) <= 15  # the last frame is shown for a while too
    fast = [round((float(frame[20:, 20:].mean()) - 20) / 25) for frame in read_frames(tmp_path / "phone.mp4", fps=100)]
    assert fast[19:26] == [1, 2, 3, 4, 4, 5, 5]


def test_time_starts_where_a_recording_starts(tmp_path):
    """Broadcast streams begin at any time stamp; their first frame is still frame 0."""
    raw_film(tmp_path / "air.ts", [10 + i / 25 for i in range(10)], [20 + 20 * i for i in range(10)])
    levels = [round((float(frame[20:, 20:].mean()) - 20) / 20) for frame in read_frames(tmp_path / "air.ts")]
    assert levels == list(range(10))


@pytest.mark.parametrize(
    ("turn", "matrix", "rows", "columns"),
    [
        ("right", (0, 1, -1, 0), slice(0, 16), slice(-12, None)),
        ("left", (0, -1, 1, 0), slice(-16, None), slice(0, 12)),
        ("half", (-1, 0, 0, -1), slice(-12, None), slice(-16, None)),
    ],
)
def test_rotated_films_stand_upright(tmp_path, turn, matrix, rows, columns):
    """A telephone writes the picture lying down and, in the track's header, how to turn it."""
    raw_film(tmp_path / "turned.mp4", [0.0, 0.04], [40, 40])
    data = bytearray((tmp_path / "turned.mp4").read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    data[(at := data.index(b"tkhd") + 44) : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "turned.mp4").write_bytes(data)
    frame = next(read_frames(tmp_path / "turned.mp4"))
    height, width = (48, 64) if turn == "half" else (64, 48)
    assert frame.shape == (height, width, 3) and probe(tmp_path / "turned.mp4").size == (width, height)
    assert frame[rows, columns].mean() == pytest.approx(215, abs=6)  # the mark of the upper left corner
    assert frame[20:-20, 16:-16].mean() == pytest.approx(40, abs=3)


def test_a_browsers_recording_tells_its_length(tmp_path):
    """MediaRecorder writes to a stream and never comes back to fill in the duration."""

    class Pipe(io.RawIOBase):
        def __init__(self):
            self.data = bytearray()

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with av.open(pipe, "w", format="webm", options={"live": "1"}) as container:
        stream = container.add_stream("libvpx-vp9", rate=25, options={"cpu-used": "8", "deadline": "realtime"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in grey_frames(20, 48, 64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    facts = probe(bytes(pipe.data))
    assert facts.duration_s == pytest.approx(0.8, abs=0.05) and not facts.has_sound
    assert order(read_frames(bytes(pipe.data))) == list(range(20))


def test_films_that_cannot_be_taken_say_why(tmp_path, folder):
    (tmp_path / "cut.mp4").write_bytes((folder / "film.mp4").read_bytes()[:900])
    (tmp_path / "empty.mov").touch()
    cases = [
        (tmp_path / "none.mp4", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "empty.mov", "is an empty file"),
        (tmp_path / "cut.mp4", "cut short"),
        (folder / "voice.wav", "voice.wav is a sound, not a film"),
        (folder / "face.png", "face.png is a picture, not a film"),
    ]
    for source, words in cases:
        for read in (probe, lambda path: next(read_frames(path))):
            with pytest.raises((ValueError, FileNotFoundError)) as error:
                read(source)
            assert words in sentence(error)


def test_long_films_are_refused_before_they_are_read(folder, monkeypatch):
    monkeypatch.setattr(limits.check_duration, "__defaults__", (1.0,))
    for read in (probe, load_sound, lambda path: next(read_frames(path))):
        with pytest.raises(ValueError, match="film.mp4 lasts 0.0 minutes"):
            read(folder / "film.mp4")


def test_films_that_cannot_be_written_say_why_and_leave_nothing(tmp_path):
    frame = patches(32, 48)
    (tmp_path / "folder.mp4").mkdir()
    cases = [
        ("a.xyz", [frame], ".mp4, .mov, .mkv, .webm"),
        ("a", [frame], "has no ending"),
        ("folder.mp4", [frame], "is a folder"),
        ("none/a.mp4", [frame], "does not exist"),
        ("a.mp4", [], "no frame came"),
        ("a.mp4", [frame / 255], "came as float64"),
        ("a.mp4", [frame, patches(32, 50)], "50 x 32"),
        ("a.mp4", [frame, None], "came as NoneType"),
    ]
    for name, frames, words in cases:
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            write_film(tmp_path / name, frames)
        assert words in sentence(error)
    with pytest.raises(ValueError, match="'fastest' and crf 18 were asked for: give one of ultrafast"):
        write_film(tmp_path / "a.mp4", [frame], preset="fastest")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mp4"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("after", [0, 1, 40])
def test_a_failing_renderer_leaves_no_file_and_no_thread(tmp_path, error, after):
    closed = []

    def frames():
        try:
            yield from itertools.islice(itertools.cycle(grey_frames(9, 32, 48)), after)
            raise error("the renderer broke")
        finally:
            closed.append(True)

    (tmp_path / "old.mp4").write_bytes(b"an older film")
    with pytest.raises(error, match="the renderer broke"):
        write_film(tmp_path / "old.mp4", frames(), Sound.silence(1))
    assert closed and (tmp_path / "old.mp4").read_bytes() == b"an older film"
    assert [path.name for path in tmp_path.iterdir()] == ["old.mp4"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mien-encode")]


def test_a_failing_encoder_stops_the_renderer(tmp_path, monkeypatch):
    made, closed = [], []

    def frames():
        try:
            for frame in grey_frames(36, 32, 48):
                made.append(True)
                yield frame
        finally:
            closed.append(True)

    def full(self, frame):
        raise OSError("the disk is full")

    monkeypatch.setattr(film._Film, "add", full)
    with pytest.raises(OSError, match="the disk is full"):
        write_film(tmp_path / "a.mp4", frames())
    assert closed and len(made) < 10 and not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_ctrl_c_leaves_nothing_behind(tmp_path):
    program = """
import sys, time, numpy as np
from mien.media.film import write_film
def frames():
    for i in range(10_000):
        if i == 20: print("going", flush=True)
        time.sleep(0.005)
        yield np.full((64, 64, 3), i % 256, np.uint8)
write_film(sys.argv[1], frames())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "a.mp4")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "going\n"
    assert (tmp_path / "a.mp4.part").exists()
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in words and not list(tmp_path.iterdir())


def test_frames_may_share_their_memory(tmp_path):
    """A renderer may draw every frame into the same array."""

    def frames():
        canvas = np.empty((32, 48, 3), np.uint8)
        for i in range(30):
            canvas[:] = 5 + 7 * i
            yield canvas

    write_film(tmp_path / "a.mp4", frames())
    assert order(read_frames(tmp_path / "a.mp4")) == list(range(30))


def test_the_renderer_never_runs_far_ahead_of_the_encoder(tmp_path):
    """Memory is flat: at most a handful of frames wait, however slow the encoder."""
    encoded, lead = [], []
    add = film._Film.add

    def slow_add(self, frame):
        time.sleep(0.01)
        add(self, frame)
        encoded.append(True)

    def frames():
        for i, frame in enumerate(grey_frames(30, 32, 48)):
            lead.append(i - len(encoded))
            yield frame

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(film._Film, "add", slow_add)
        write_film(tmp_path / "a.mp4", frames())
    assert max(lead) <= film.QUEUE + 2


def test_the_room_imports_light():
    program = "import sys, mien.media; print({'av', 'PIL', 'torch', 'numpy', 'soundfile'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
