"""A torchaudio that imports beside any torch.

The torchaudio wheel of the package index is linked against CUDA. Beside a CPU build of torch its compiled part fails to
load (`OSError: Could not load this library: …/_torchaudio.abi3.so`) and `import torchaudio` fails as a whole; so do
transformers and parts of diffusers, which import it whenever it is installed. Its Python part (resampling, mel
spectrograms, filters, Kaldi features) needs no compiled code: with `torchaudio._extension` replaced by one that reports
"not compiled" it imports and works. `forced_align` and `rnnt_loss` stay missing and raise when called.

Nothing happens when this module is imported. Call `guard()` before the first import of transformers or diffusers, and
take torchaudio itself from `torchaudio()`.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn


def torchaudio() -> ModuleType:
    """Return torchaudio, without its compiled part where that does not load. Raises ImportError if there is none."""
    try:
        import torchaudio
    except OSError:
        # The failed import leaves submodules behind that know nothing of the replacement.
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules["torchaudio._extension"] = _no_extension()
        import torchaudio
    return torchaudio


def guard() -> None:
    """Make later imports of transformers and diffusers safe, whether torchaudio is whole, broken or not installed."""
    try:
        torchaudio()
    except ModuleNotFoundError as error:
        if error.name != "torchaudio":
            raise


def _no_extension() -> ModuleType:
    """Return what `torchaudio._extension` looks like to the rest of torchaudio if nothing was compiled."""

    def fail_if_no_align(function: Callable[..., Any]) -> Callable[..., NoReturn]:
        def fail(*_: Any, **__: Any) -> NoReturn:
            raise RuntimeError(f"torchaudio's {function.__name__} is compiled code that does not fit this torch.")

        return fail

    extension: Any = ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = False
    extension._IS_ALIGN_AVAILABLE = False
    extension._check_cuda_version = lambda: None
    extension.fail_if_no_align = fail_if_no_align
    return extension
