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
