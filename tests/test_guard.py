"""torchaudio imports beside any torch, and so does what imports torchaudio.

Each case runs in a process of its own: what is imported first is what is tested.
"""

import subprocess
import sys
from pathlib import Path

import pytest

# A torchaudio in small: its compiled part fails or loads, and its other parts are built like the real one's.
FAKE = {
    "__init__.py": "from . import _extension, functional\n",
    "_extension.py": "if not {compiled}: raise OSError('Could not load this library: _torchaudio.abi3.so')\n"
    "_IS_TORCHAUDIO_EXT_AVAILABLE = True\nfail_if_no_align = lambda function: function\n",
    "functional.py": "from torchaudio._extension import _IS_TORCHAUDIO_EXT_AVAILABLE as COMPILED, fail_if_no_align\n"
    "@fail_if_no_align\ndef forced_align(): return 'aligned'\n",
}


def run(code: str, folder: Path) -> str:
    child = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=folder, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    return child.stdout.strip()


def fake_torchaudio(folder: Path, compiled: bool) -> None:
    (folder / "torchaudio").mkdir()
    for name, text in FAKE.items():
        (folder / "torchaudio" / name).write_text(text.replace("{compiled}", str(compiled)))


def test_importing_the_guard_imports_nothing(tmp_path):
    code = "import sys, mien.layers.torchaudio_guard; print({'torch', 'torchaudio'} & set(sys.modules))"
    assert run(code, tmp_path) == "set()"


def test_a_torchaudio_that_loads_is_left_alone(tmp_path):
    fake_torchaudio(tmp_path, compiled=True)
    code = "from mien.layers.torchaudio_guard import torchaudio; f = torchaudio().functional\n"
    assert run(code + "print(f.COMPILED, f.forced_align())", tmp_path) == "True aligned"


def test_a_torchaudio_that_does_not_load_gives_its_python_part(tmp_path):
    fake_torchaudio(tmp_path, compiled=False)
    code = (
        "import sys\n"
        "try: import torchaudio\n"  # somebody tried before us: what that left behind must not matter
        "except OSError: pass\n"
        "from mien.layers.torchaudio_guard import torchaudio\n"
        "first, second = torchaudio(), torchaudio()\n"
        "import torchaudio as third\n"
        "print(first is second is third is sys.modules['torchaudio'], first.functional.COMPILED)\n"
        "try: first.functional.forced_align()\n"
        "except RuntimeError as error: print(error)"
    )
    lines = run(code, tmp_path).splitlines()
    assert lines == ["True False", "torchaudio's forced_align is compiled code that does not fit this torch."]


def test_without_torchaudio_the_guard_is_silent_and_torchaudio_says_so(tmp_path):
    code = (
        "import sys; sys.modules['torchaudio'] = None\n"  # Python's own way to say: not there
        "from mien.layers.torchaudio_guard import guard, torchaudio\n"
        "guard()\n"
        "try: torchaudio()\n"
        "except ImportError as error: print('ImportError')"
    )
    assert run(code, tmp_path) == "ImportError"


@pytest.mark.parametrize(
    "statement",
    [
        "from transformers import WhisperFeatureExtractor as found",
        "from diffusers import FlowMatchEulerDiscreteScheduler as found",
        "from torchaudio.functional import resample as found",
    ],
)
def test_what_imports_torchaudio_works_after_the_guard(statement, tmp_path):
    if "transformers" in statement:
        pytest.importorskip("transformers", reason="needs the extra `test`")
    run(f"from mien.layers.torchaudio_guard import guard; guard(); {statement}; found", tmp_path)


def test_resampling_keeps_a_tone(tmp_path):
    """The Python part computes: 440 Hz stays 440 Hz."""
    code = (
        "import math, torch\n"
        "from mien.layers.torchaudio_guard import torchaudio\n"
        "tone = lambda rate: torch.sin(2 * math.pi * 440 * torch.arange(rate) / rate)\n"
        "error = torchaudio().functional.resample(tone(44100), 44100, 16000) - tone(16000)\n"
        "print(float(error[100:-100].abs().max()))"
    )
    assert float(run(code, tmp_path)) < 0.01
