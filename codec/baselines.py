"""The codecs beside which ours is heard: Codec 2 and Opus through their programs, and codecs of transformers.

A `System` turns samples into bytes and bytes into samples; what it costs is the number of these bytes, nothing else.
"""

import shutil
import subprocess
from typing import Any, Protocol

import numpy as np

from mien.layers.extras import install
from mien.media import Sound

RATE = 16_000  # Hz, of what every system gets and gives


class System(Protocol):
    """A codec under trial. name: its family, a space, its setting. note: what its bytes hold, and what was done for it."""

    @property
    def name(self) -> str: ...
    @property
    def note(self) -> str: ...
    def encode(self, samples: np.ndarray) -> bytes:
        """Samples (S,) float32 in [-1, 1] at 16 kHz to all that the decoder gets."""
        ...

    def decode(self, data: bytes, n_samples: int) -> np.ndarray:
        """The bytes to samples at 16 kHz, as many as were coded and in time with them."""
        ...


class Codec2:
    """Codec 2 (https://github.com/drowe67/codec2) by its programs c2enc and c2dec: headerless frames at 8 kHz."""

    # By mode: samples of 8 kHz in a frame, bits of a frame, samples by which what is decoded is late. The delays are
    # those with the highest STOI on speech: left as they are, the programs lose 0.15 to 0.2 of it.
    MODES = {"700C": (320, 28, 240), "1200": (320, 48, 160), "2400": (160, 48, 160), "3200": (160, 64, 160)}

    def __init__(self, mode: str):
        self.mode, self.name = mode, f"codec2 {mode}"
        self.frame, self.bits, self.delay = self.MODES[mode]
        self.note = f"8 kHz, no header, moved {self.delay / 8:g} ms earlier to be in time"

    def encode(self, samples: np.ndarray) -> bytes:
        """See `System`."""
        narrow = Sound(samples[:, None], RATE).mono(8000)
        whole = -(-(len(narrow) + self.delay) // self.frame) * self.frame  # the last frame must come out of the delay
        data = _run(["c2enc", self.mode, "-", "-"], _to_pcm(np.pad(narrow, (0, whole - len(narrow)))))
        # 700C's 28 bits come in four bytes each: the four bits between are not the codec's.
        bits = np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, -(-self.bits // 8) * 8)
        return np.packbits(bits[:, : self.bits]).tobytes()

    def decode(self, data: bytes, n_samples: int) -> np.ndarray:
        """See `System`."""
        bits = np.unpackbits(np.frombuffer(data, np.uint8))
        bits = bits[: len(bits) // self.bits * self.bits].reshape(-1, self.bits)
        padded = np.packbits(np.pad(bits, ((0, 0), (0, -self.bits % 8))))
        narrow = _from_pcm(_run(["c2dec", self.mode, "-", "-"], padded.tobytes()))[self.delay :]
        return fitted(Sound(narrow[:, None], 8000).mono(RATE), n_samples)


class Opus:
    """Opus by the programs opusenc and opusdec, tuned for speech at low rates: 60 ms frames, no tags, no padding."""

    def __init__(self, kbps: int):
        self.kbps, self.name = kbps, f"opus {kbps}"
        self.note = "its whole file counts, with its Ogg container"

    def encode(self, samples: np.ndarray) -> bytes:
        """See `System`."""
        how = f"--bitrate {self.kbps} --framesize 60 --speech --padding 0 --discard-comments"
        sound = "--quiet --raw --raw-rate 16000 --raw-chan 1 --raw-bits 16"
        return _run(["opusenc", *how.split(), *sound.split(), "-", "-"], _to_pcm(samples))

    def decode(self, data: bytes, n_samples: int) -> np.ndarray:
        """See `System`."""
        return fitted(_from_pcm(_run(["opusdec", "--quiet", "--rate", "16000", "--no-dither", "-", "-"], data)), n_samples)


class Peer:
    """A codec of transformers (EnCodec, Mimi, DAC) at so many codebooks; its codes are packed to whole bits.

    model: the pretrained name or folder, looked for on this machine alone. Raises ValueError with one sentence if it is
    not here, is no such codec or has not so many codebooks; ModuleNotFoundError without transformers.
    """

    CLASSES = {"encodec": "EncodecModel", "mimi": "MimiModel", "dac": "DacModel"}

    def __init__(self, model: str, codebooks: int = 8):
        from mien.layers.torchaudio_guard import guard

        guard()
        try:
            import transformers
        except ModuleNotFoundError:
            raise ModuleNotFoundError(f"{model} needs transformers: {install('eval')}.") from None
        try:
            config: Any = transformers.AutoConfig.from_pretrained(model, local_files_only=True)
            kind = config.model_type
            if kind not in self.CLASSES:
                raise ValueError(f"{model} is a model of the kind '{kind}': give one of {', '.join(self.CLASSES)}.")
            self.codec = getattr(transformers, self.CLASSES[kind]).from_pretrained(model, local_files_only=True).eval()
        except OSError:
            raise ValueError(f"{model} is not on this machine: fetch its weights first or give their folder.") from None
        if getattr(config, "audio_channels", 1) != 1 or getattr(config, "normalize", False):
            raise ValueError(f"{model} is made for stereo or normalised sound: give a mono one, such as encodec_24khz.")
        self.kind, self.rate, self.codebooks = kind, config.sampling_rate, codebooks
        self.width = (config.codebook_size - 1).bit_length()
        self.name = f"{model.rstrip('/').split('/')[-1]} {codebooks}"
        self.note = f"{self.rate} Hz, {codebooks} codebooks of {self.width} bits, no header"
        if kind == "encodec":
            self.bandwidth = self.width * codebooks * config.frame_rate / 1000
            if self.bandwidth not in config.target_bandwidths:
                known = [round(1000 * kbps / self.width / config.frame_rate) for kbps in config.target_bandwidths]
                raise ValueError(f"{model} has no rate with {codebooks} codebooks: choose one of {known}.")
        elif codebooks > (most := config.num_quantizers if kind == "mimi" else config.n_codebooks):
            raise ValueError(f"{model} has {most} codebooks, not {codebooks}: ask for fewer.")

    def encode(self, samples: np.ndarray) -> bytes:
        """See `System`."""
        import torch

        sound = torch.from_numpy(Sound(samples[:, None], RATE).mono(self.rate))[None, None]
        how = {"encodec": "bandwidth", "mimi": "num_quantizers", "dac": "n_quantizers"}[self.kind]
        setting = self.bandwidth if self.kind == "encodec" else self.codebooks
        with torch.inference_mode():
            codes = self.codec.encode(sound, **{how: setting}).audio_codes
        codes = codes.reshape(self.codebooks, -1).T.numpy()  # (T, Q)
        return pack(codes, self.width)

    def decode(self, data: bytes, n_samples: int) -> np.ndarray:
        """See `System`."""
        import torch

        codes = torch.from_numpy(unpack(data, self.codebooks, self.width).T.copy())[None]  # (1, Q, T)
        with torch.inference_mode():
            if self.kind == "encodec":
                sound = self.codec.decode(codes[None], [None]).audio_values
            else:
                sound = self.codec.decode(audio_codes=codes).audio_values
        return fitted(Sound(sound.reshape(-1, 1).float().numpy(), self.rate).mono(RATE), n_samples)


def installed() -> tuple[list[System], list[str]]:
    """The baselines whose programs are on this machine, and a sentence for each whose are not."""
    systems: list[System] = []
    notes = []
    if shutil.which("c2enc") and shutil.which("c2dec"):
        systems += [Codec2(mode) for mode in Codec2.MODES]
    else:
        notes.append("codec2 is left out: its programs c2enc and c2dec are not installed (Debian package codec2).")
    if shutil.which("opusenc") and shutil.which("opusdec"):
        systems += [Opus(6), Opus(8)]
    else:
        notes.append("opus is left out: its programs opusenc and opusdec are not installed (Debian package opus-tools).")
    return systems, notes


def pack(codes: np.ndarray, width: int) -> bytes:
    """Codes (T, Q) to `width` bits each, most significant first, filled up to a whole byte."""
    bits = codes.reshape(-1, 1) >> np.arange(width - 1, -1, -1) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def unpack(data: bytes, codebooks: int, width: int) -> np.ndarray:
    """What `pack` packed: codes (T, Q) int64."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    bits = bits[: len(bits) // (codebooks * width) * codebooks * width].reshape(-1, codebooks, width)
    return bits.astype(np.int64) @ (1 << np.arange(width - 1, -1, -1))


def container_bytes(data: bytes) -> int:
    """How many of a file's bytes are its Ogg container (page heads, the two head packets); 0 if it is none (RFC 3533)."""
    at, packets, sound = 0, 0, 0
    while data[at : at + 4] == b"OggS":
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        if packets >= 2:
            sound += sum(lacing)
        packets += sum(size < 255 for size in lacing)
        at += 27 + len(lacing) + sum(lacing)
    return at - sound


def fitted(samples: np.ndarray, n_samples: int) -> np.ndarray:
    """The first `n_samples` of a sound, with silence after it where it is shorter."""
    return np.pad(samples[:n_samples], (0, max(n_samples - len(samples), 0))).astype(np.float32)


def _to_pcm(samples: np.ndarray) -> bytes:
    return (samples * 32767).clip(-32768, 32767).round().astype("<i2").tobytes()


def _from_pcm(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768


def _run(command: list[str], data: bytes) -> bytes:
    """A program that reads its standard input and writes its standard output."""
    done = subprocess.run(command, input=data, capture_output=True)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().split("\n")[-1]
        raise OSError(f"{command[0]} failed ({last}): try it by hand with {' '.join(command[:-2])}.")
    return done.stdout
