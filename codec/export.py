"""The codec's two steps as ONNX graphs with named states, for everything that runs no Python.

    encoder_step.onnx   640 samples and the states -> digits, what they were before the quantisers, and the next states
    decoder_step.onnx   digits and the states -> 640 samples and the next states
    codec.json          every name, shape and first value, the levels, rates and latency

In float32 with fixed shapes, one frame a call. What the encoder hears and the phase that the pitch adds up to are float64.
"""

import copy
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from mien.codec.front import FRAME_LENGTH
from mien.codec.model import Codec, DecoderState, EncoderState, Memory
from mien.codec.vocoder import SAMPLE_RATE, VocoderState
from mien.layers.extras import install
from mien.media.files import written_beside

OPSET = 18
DIGITS = ("semantic", "tiers", "voice")


class EncoderStep(nn.Module):
    """One frame through the encoder: digits and their pre-activations."""

    def __init__(self, codec: Codec):
        super().__init__()
        self.encoder = codec.encoder

    def forward(
        self, samples: Tensor, ear: Memory, semantic: Memory, acoustic: Memory, moments: Tensor
    ) -> tuple[Any, ...]:
        """samples (1, 640) and the parts of an `EncoderState` to digits, pre-activations and the next parts."""
        e = self.encoder
        _, _, *raw, after = e.listen(samples, EncoderState(ear, semantic, acoustic, moments, 0))
        quantisers = (e.semantic_quantiser, e.tier_quantiser, e.voice_quantiser)
        digits = [quantiser(x)[1] for quantiser, x in zip(quantisers, raw, strict=True)]
        return *digits, *raw, after.ear, after.semantic, after.acoustic, after.moments


class DecoderStep(nn.Module):
    """One frame through connector and vocoder."""

    def __init__(self, codec: Codec):
        super().__init__()
        self.codec = codec

    def forward(
        self, semantic: Tensor, tiers: Tensor, kept: Tensor, voice: Tensor, known: Tensor, connector: Memory,
        vocoder: Memory, log_pitch: Tensor, phase: Tensor, position: Tensor, harmonic: Tensor, noise: Tensor,
        overlap: Tensor,
    ) -> tuple[Any, ...]:  # fmt: skip
        """What `Codec.utter` takes, with the parts of a `DecoderState`, to samples (1, 640) and the next parts."""
        state = DecoderState(connector, VocoderState(vocoder, log_pitch, phase, position, harmonic, noise, overlap))
        samples, after = self.codec.utter(semantic, tiers.unflatten(-1, (self.codec.config.layout.tiers, -1)), kept, voice,
                                          known, state)  # fmt: skip
        v = after.vocoder
        return samples, after.connector, v.memory, v.log_pitch, v.phase, v.position, v.harmonic, v.noise, v.overlap


def export(codec: Codec, folder: Path) -> dict[str, Any]:
    """Write both graphs and their description into a folder that exists; returns the description.

    Raises ModuleNotFoundError without the packages of the extra `export`.
    """
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"ONNX files need {package}: {install('export')}.")
    codec = copy.deepcopy(codec).cpu().float().eval()
    codec.encoder.ear.double()  # rounding is loud in bands that are silent
    config, layout = codec.config, codec.config.layout
    about = {
        "codec": config.name,
        "sample_rate": SAMPLE_RATE,
        "frame_length": FRAME_LENGTH,
        "look_ahead": config.look_ahead,  # so many first outputs of the encoder are of before the sound
        "latency_ms": config.latency_ms,
        "levels": {name: levels for name, levels in asdict(layout).items() if name in ("semantic", "tier", "voice")},
        "tiers": layout.tiers,
        "encoder_step": _write(*_encoder_step(codec), folder / "encoder_step.onnx"),
        "decoder_step": _write(*_decoder_step(codec), folder / "decoder_step.onnx"),
    }
    with written_beside(folder / "codec.json", (".json",)) as part:
        part.write_text(json.dumps(about, indent=1), encoding="utf-8")
    return about


Named = dict[str, Any]  # inputs of a graph in their order: tensors, and memories as tuples of them


def _encoder_step(codec: Codec) -> tuple[nn.Module, Named, Named, list[str]]:
    """The step, its inputs, the states it begins with, and the names of its results."""
    samples = torch.zeros(1, FRAME_LENGTH)
    with torch.no_grad():
        *_, after = codec.encoder.listen(samples, codec.start_encoding())
    first: Named = {name: _silent(getattr(after, name)) for name in ("ear", "semantic", "acoustic", "moments")}
    return EncoderStep(codec).eval(), {"samples": samples}, first, [*DIGITS, *(f"{name}_raw" for name in DIGITS)]


def _decoder_step(codec: Codec) -> tuple[nn.Module, Named, Named, list[str]]:
    layout = codec.config.layout
    digits, flags = torch.zeros(1, 1, 1, dtype=torch.int64), torch.ones(1, 1, 1)
    inputs = {
        "semantic": digits.repeat(1, 1, len(layout.semantic)),
        "tiers": digits.repeat(1, 1, layout.tiers * len(layout.tier)),
        "kept": flags.repeat(1, 1, 1 + layout.tiers),
        "voice": digits.repeat(1, 1, len(layout.voice)),
        "known": flags,
    }
    start = codec.start_decoding()
    with torch.no_grad():
        _, after = codec.utter(
            inputs["semantic"], inputs["tiers"].unflatten(-1, (layout.tiers, -1)), inputs["kept"], inputs["voice"],
            inputs["known"], start,
        )  # fmt: skip
    vocoder = start.vocoder
    first: Named = {
        "connector": _silent(after.connector),
        "vocoder": _silent(after.vocoder.memory),
        "log_pitch": vocoder.log_pitch,
        "phase": vocoder.phase,
        "position": torch.tensor(vocoder.position),
        "harmonic": vocoder.harmonic.clone(),  # the exporter takes one tensor for one input
        "noise": vocoder.noise.clone(),
        "overlap": vocoder.overlap.clone(),
    }
    return DecoderStep(codec).eval(), inputs, first, ["samples"]


def _silent(state: Tensor | Memory | None) -> Tensor | Memory:
    """What a state of this shape is before anything was heard."""
    assert state is not None
    return torch.zeros_like(state) if isinstance(state, Tensor) else tuple(map(torch.zeros_like, state))


def _write(step: nn.Module, inputs: Named, states: Named, results: Sequence[str], path: Path) -> dict[str, Any]:
    """Write one graph; return what `codec.json` says of it."""
    flat = dict(_flat(states))
    from onnxscript import optimizer

    with written_beside(path, (".onnx",)) as part, _matrix_transforms(), _quiet():
        program = torch.onnx.export(
            step,
            (*inputs.values(), *states.values()),
            input_names=[*inputs, *(f"{name}_in" for name in flat)],
            output_names=[*results, *(f"{name}_out" for name in flat)],
            opset_version=OPSET,
            dynamo=True,
            optimize=False,  # its optimiser takes the floor of the log-mel, 1e-8, for nothing and drops it
            verbose=False,
        )
        assert program is not None
        optimizer.fold_constants(program.model)
        optimizer.remove_unused_nodes(program.model)
        program.save(part, external_data=False)

    def described(x: Tensor) -> dict[str, Any]:
        return {"shape": list(x.shape), "type": str(x.dtype).removeprefix("torch.")}

    return {
        "file": path.name,
        "inputs": {name: described(x) for name, x in inputs.items()},
        "outputs": list(results),
        "states": {  # fed as NAME_in, found as NAME_out; every element begins as `first`
            name: described(x) | {"first": x.flatten()[0].item()} for name, x in flat.items()
        },
    }


def _flat(states: Named) -> Iterator[tuple[str, Tensor]]:
    for name, x in states.items():
        if isinstance(x, Tensor):
            yield name, x
        else:
            yield from ((f"{name}_{n}", part) for n, part in enumerate(x))


@contextmanager
def _matrix_transforms() -> Iterator[None]:
    """Real Fourier transforms as products with constant matrices.

    The exporter's own lose the scale of a padded one, and runtimes have no fast one for 320 points.
    """

    def rfft(x: Tensor, n: int | None = None) -> Tensor:
        matrix = np.fft.rfft(np.eye(x.shape[-1]), n)
        return torch.complex(x @ constant(matrix.real, x), x @ constant(matrix.imag, x))

    def irfft(x: Tensor, n: int | None = None) -> Tensor:
        unit = np.eye(x.shape[-1])
        if not x.is_complex():
            return x @ constant(np.fft.irfft(unit, n), x)
        return x.real @ constant(np.fft.irfft(unit, n), x.real) + x.imag @ constant(np.fft.irfft(1j * unit, n), x.real)

    def constant(matrix: np.ndarray, like: Tensor) -> Tensor:
        return torch.from_numpy(matrix).to(like.dtype)

    with patch.object(torch.fft, "rfft", rfft), patch.object(torch.fft, "irfft", irfft):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks much of what is none of a user's affair."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
