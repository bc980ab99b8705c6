"""Weights come back as they were saved, and only the ones that are listed pass for listed ones."""

import shutil
import subprocess
import sys

import pytest
import torch

from mien import checkpoints
from mien.portrait.animator import AnimatorConfig

TENSORS = {
    "layer.weight": torch.linspace(-1, 1, 15).reshape(3, 5),
    "layer.bias": torch.arange(3).bfloat16(),
    "codes": torch.tensor([2**40, -7]),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "scalar": torch.tensor(0.1, dtype=torch.float64),
}
CONFIG = {"width": 5, "name": "schön", "rates": [0.1, 2], "nested": {"causal": True, "none": None}}
FIGURES: dict[str, float | str] = {"sync": 0.31, "note": "held-out people"}


@pytest.fixture
def folder(tmp_path):
    """A folder of weights with one listed file."""
    (tmp_path / "index.json").write_text("{}")
    (tmp_path / "tiny-animator.md").write_text("# tiny-animator\n")
    checkpoints.save(tmp_path / "tiny-animator.safetensors", TENSORS, CONFIG)
    checkpoints.register(tmp_path / "tiny-animator.safetensors", licence="Apache-2.0", figures=FIGURES)
    return tmp_path


def test_saved_weights_come_back_exactly_by_name_and_by_path(folder):
    by_name = checkpoints.load("tiny-animator", folder)
    by_path = checkpoints.load(str(folder / "tiny-animator.safetensors"))
    for loaded in (by_name, by_path):
        assert loaded.config == CONFIG
        assert loaded.path == folder / "tiny-animator.safetensors"
        assert loaded.tensors.keys() == TENSORS.keys()
        for key, tensor in TENSORS.items():
            assert loaded.tensors[key].dtype == tensor.dtype
            assert torch.equal(loaded.tensors[key], tensor)


def test_an_unknown_name_gets_the_nearest_and_all_known_ones(folder):
    with pytest.raises(ValueError, match="no weights are called 'tiny-animatr': did you mean 'tiny-animator'?"):
        checkpoints.load("tiny-animatr", folder)
    with pytest.raises(ValueError, match="'zebra': known names: tiny-animator"):
        checkpoints.load("zebra", folder)


def test_a_path_that_is_not_there_is_called_missing(folder):
    with pytest.raises(FileNotFoundError, match="absent.safetensors is not there"):
        checkpoints.load(folder / "absent.safetensors")


def test_a_listed_file_that_changed_is_refused(folder):
    path = folder / "tiny-animator.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="sha256 differs"):
        checkpoints.load("tiny-animator", folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is missing: install mien again"):
        checkpoints.load("tiny-animator", folder)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2)}, tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="holds tensors but no config"):
        checkpoints.load(tmp_path / "bare.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors here")
    with pytest.raises(ValueError, match="is no safetensors file"):
        checkpoints.load(tmp_path / "text.safetensors")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "weights.safetensors"
    checkpoints.save(path, TENSORS, CONFIG)
    before = path.read_bytes()
    shared = torch.zeros(4)
    with pytest.raises(RuntimeError):  # safetensors refuses two names for one memory
        checkpoints.save(path, {"a": shared, "b": shared}, CONFIG)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_needs_licence_and_card_an_old_one_keeps_them(folder):
    new = folder / "another.safetensors"
    checkpoints.save(new, {"x": torch.ones(1)}, {})
    with pytest.raises(ValueError, match="another is new and has no licence yet"):
        checkpoints.register(new)
    with pytest.raises(FileNotFoundError, match="another.md is not there"):
        checkpoints.register(new, licence="Apache-2.0")
    (folder / "another.md").write_text("# another\n")
    checkpoints.register(new, licence="Apache-2.0")
    assert [entry.name for entry in checkpoints.index(folder)] == ["another", "tiny-animator"]

    old = checkpoints.index(folder)[1]
    checkpoints.save(folder / old.file, {"x": torch.ones(1)}, {})
    done = subprocess.run([sys.executable, "-m", "mien.checkpoints", str(folder / old.file)], capture_output=True)
    assert done.returncode == 0, done.stderr
    changed = checkpoints.index(folder)[1]
    assert changed.sha256 != old.sha256
    assert (changed.licence, changed.card, changed.figures) == ("Apache-2.0", "tiny-animator.md", FIGURES)
    assert checkpoints.load("tiny-animator", folder).tensors.keys() == {"x"}


def test_the_command_says_what_is_wrong_and_exits_2(folder):
    shutil.copy(folder / "tiny-animator.safetensors", folder / "nameless.safetensors")
    command = [sys.executable, "-m", "mien.checkpoints", str(folder / "nameless.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "nameless is new and has no licence yet" in done.stderr and "Traceback" not in done.stderr


def test_what_is_shipped_is_what_is_listed():
    entries = checkpoints.index()
    for entry in entries:
        weights = checkpoints.load(entry.name)  # checks the sha256
        assert weights.path.stat().st_size == entry.bytes
        assert entry.licence and (checkpoints.FOLDER / entry.card).is_file()
    assert {entry.file for entry in entries} == {path.name for path in checkpoints.FOLDER.glob("*.safetensors")}
    assert sum(entry.bytes for entry in entries) <= 55e6, "the wheel's budget for weights"


def test_weights_of_another_network_are_told_in_a_sentence():
    with pytest.raises(ValueError, match=r"matte\.safetensors holds another network, not the animator"):
        checkpoints.load("matte").built(AnimatorConfig)
