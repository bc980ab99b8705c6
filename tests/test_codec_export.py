"""The ONNX graphs: the same step as torch's, frame after frame, for whoever has only a runtime and codec.json."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_codec import small_codec

from mien.codec.export import DIGITS, export
from mien.codec.front import FRAME_LENGTH
from mien.codec.model import Codec
from mien.front import ASSETS
from mien.media import load_sound

pytest.importorskip("onnxscript", reason="needs the extra `export`")
ort = pytest.importorskip("onnxruntime", reason="needs the extra `export`")

pytestmark = pytest.mark.slow  # the exporter takes its time
SECONDS = 10


@pytest.fixture(scope="module")
def codec() -> Codec:
    """Random weights, but pitch, loudness and tilt as speech has them."""
    codec = small_codec()
    codec.connector.frames.weight.data[-2] *= 0.1
    codec.connector.frames.bias.data[:-2] -= torch.linspace(0.5, 3.0, codec.config.n_mels, dtype=torch.float64)
    torch.manual_seed(1)
    torch.nn.init.normal_(codec.vocoder.head.weight, std=0.05)
    torch.nn.init.zeros_(codec.vocoder.head.bias)
    return codec


@pytest.fixture(scope="module")
def folder(codec, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    export(codec, folder)
    return folder


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return np.resize(load_sound(ASSETS / "welcome.ogg").mono(16_000), (25 * SECONDS, 1, FRAME_LENGTH))


class Graph:
    """A graph run as codec.json tells."""

    def __init__(self, folder: Path, name: str):
        self.about = json.loads((folder / "codec.json").read_text())[name]
        self.session = ort.InferenceSession(folder / self.about["file"])
        self.states = {
            name: np.full(state["shape"], state["first"], state["type"]) for name, state in self.about["states"].items()
        }

    def step(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        feed = inputs | {f"{name}_in": value for name, value in self.states.items()}
        found = dict(zip([o.name for o in self.session.get_outputs()], self.session.run(None, feed), strict=True))
        self.states = {name: found.pop(f"{name}_out") for name in self.states}
        return found


def test_codec_json_tells_every_input_and_output(folder, codec):
    about = json.loads((folder / "codec.json").read_text())
    assert about["latency_ms"] == codec.config.latency_ms and about["frame_length"] == FRAME_LENGTH
    assert about["levels"]["semantic"] == list(codec.config.layout.semantic)
    for name in ("encoder_step", "decoder_step"):
        graph = Graph(folder, name)
        told = graph.about["inputs"] | {f"{state}_in": about for state, about in graph.about["states"].items()}
        assert {i.name: i.shape for i in graph.session.get_inputs()} == {name: x["shape"] for name, x in told.items()}
        names = [*graph.about["outputs"], *(f"{state}_out" for state in graph.about["states"])]
        assert [o.name for o in graph.session.get_outputs()] == names


def test_the_encoder_hears_what_torch_hears(folder, codec, speech):
    graph, single = Graph(folder, "encoder_step"), copy.deepcopy(codec).float()
    single.encoder.ear.double()
    state, exact = single.start_encoding(), codec.start_encoding()
    same = []
    for block in speech[:100]:
        found = graph.step(samples=block)
        with torch.inference_mode():
            _, _, *raw, state = single.encoder.listen(torch.from_numpy(block), state)
            _, _, *precise, exact = codec.encoder.listen(torch.from_numpy(block), exact)
        for name, wanted in zip(DIGITS, raw, strict=True):
            np.testing.assert_allclose(found[f"{name}_raw"], wanted.numpy(), atol=1e-4)
        encoder = codec.encoder
        quantisers = (encoder.semantic_quantiser, encoder.tier_quantiser, encoder.voice_quantiser)
        for name, quantiser, x in zip(DIGITS, quantisers, precise, strict=True):
            same.append(found[name].ravel() == quantiser(x)[1].numpy().ravel())
    assert np.concatenate(same).mean() >= 0.999


def test_the_decoder_says_what_torch_says(folder, codec):
    graph, single = Graph(folder, "decoder_step"), copy.deepcopy(codec).float()
    layout, rng = codec.config.layout, np.random.default_rng(0)
    state, errors = single.start_decoding(), []
    for frame in range(25 * SECONDS):
        inputs = {
            "semantic": rng.integers(0, layout.semantic, (1, 1, 5)),
            "tiers": rng.integers(0, layout.tier * layout.tiers, (1, 1, 15)),
            "kept": np.ones((1, 1, 4), np.float32),
            "voice": np.full((1, 1, 24), frame // 50 % 5),
            "known": np.full((1, 1, 1), frame > 10, np.float32),
        }
        found = graph.step(**inputs)
        semantic, tiers, *others = (torch.from_numpy(x) for x in inputs.values())
        with torch.inference_mode():
            samples, state = single.utter(semantic, tiers.unflatten(-1, (3, 5)), *others, state)
        errors.append(np.abs(found["samples"] - samples.numpy()).max())
    # As a voice glides its highest harmonic comes and goes; with a pitch that is one bit off, it does a sample apart.
    assert np.mean(np.array(errors) <= 1e-4) >= 0.99 and max(errors) < 1e-2
