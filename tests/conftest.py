"""What tests share: the shipped portrait, real data if there is any, a closed door to the network."""

import os
import socket
from importlib.resources import files
from pathlib import Path

import pytest

os.environ.update(HF_HUB_OFFLINE="1", GRADIO_ANALYTICS_ENABLED="False")


@pytest.fixture(scope="session", autouse=True)
def no_network():
    """Let nothing leave this machine: a test that needs the network would fail on somebody else's."""
    connect = socket.socket.connect

    def local(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"tests use no network, {address} was called")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local)
        yield


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real clips that MIEN_DATA names; the test is skipped without it."""
    folder = os.environ.get("MIEN_DATA")
    if not folder:
        pytest.skip("needs real data: set MIEN_DATA to its folder")
    return Path(folder)


@pytest.fixture(scope="session")
def astronaut_path() -> Path:
    """The shipped portrait, 512 x 512; its landmarks lie beside it as astronaut.json."""
    return Path(str(files("mien"))) / "assets" / "astronaut.jpg"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small synthesiser that has learned nothing, but that notes last 80 ms; it knows all named voices."""
    from dataclasses import asdict

    import torch

    from mien import checkpoints
    from mien.codec.model import load_codec
    from mien.tts.model import Synthesiser, SynthesiserConfig
    from mien.tts.voices import VOICES

    torch.manual_seed(0)
    sizes = {"note_blocks": 1, "frame_blocks": 1, "fine_width": 16, "fine_blocks": 1, "flow_blocks": 1, "condition": 8}
    model = Synthesiser(SynthesiserConfig(layout=load_codec().config.layout, width=16, heads=2, **sizes))
    torch.nn.init.constant_(model.prosody_head.bias, 2.2)
    voices = {f"voices.{part}": torch.zeros(24) for voice in VOICES for part in voice.learned_from}
    path = tmp_path_factory.mktemp("tts") / "tts.safetensors"
    checkpoints.save(path, {**model.state_dict(), **voices, "voices.anna": torch.zeros(24)}, asdict(model.config))
    return path
