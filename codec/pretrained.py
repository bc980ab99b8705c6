"""Big speech encoders of transformers as an audio front: wav2vec 2.0 and its kin, and Whisper, at the codec's 25 Hz.

The weights are the user's own: a folder, or a name whose weights lie in the Hugging Face cache. Nothing is downloaded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mien.codec.front import FRAME_LENGTH, check_sound
from mien.layers.torchaudio_guard import guard

if TYPE_CHECKING:
    from transformers import PretrainedConfig

SAMPLE_RATE = 16_000
WINDOW = 725  # frames that a model hears at once, 29 s: a little less than the 30 s that Whisper takes
CONTEXT = 25  # frames of it on either side that only give context, where the sound goes on there
WAVEFORM_MODELS = {"data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wav2vec2-conformer", "wavlm"}

Hear = Callable[[np.ndarray], torch.Tensor]


@dataclass(frozen=True)
class SpeechEncoder:
    """A pretrained encoder that gives what it hears in frames of 25 Hz.

    hear: (640 N,) samples, N at most `WINDOW`, to (M N, D): M outputs a frame, evenly spaced within it. width: D.
    """

    hear: Hear
    width: int

    def features(self, samples: np.ndarray) -> np.ndarray:
        """(S,) float32 samples at 16 kHz to (T, D) float32, T = ceil(S / 640): row t tells of samples [640 t, 640 t + 640).

        Sound that is longer than the model takes is heard in windows that overlap. Raises ValueError when the samples are
        not one channel of finite numbers.
        """
        samples = check_sound(samples)
        total = -(-len(samples) // FRAME_LENGTH)
        samples = np.pad(samples, (0, total * FRAME_LENGTH - len(samples)))
        out = np.zeros((total, self.width), np.float32)
        begin = 0
        while begin < total:
            first = max(begin - CONTEXT, 0)
            last = min(first + WINDOW, total)
            frames = self.hear(samples[first * FRAME_LENGTH : last * FRAME_LENGTH]).unflatten(0, (last - first, -1)).mean(1)
            out[begin:last] = frames[begin - first :].numpy()
            begin = last if last == total else last - CONTEXT
        return out


def load_speech_encoder(name_or_path: str | Path, layer: int = -1) -> SpeechEncoder:
    """A speech encoder whose weights are on this machine, ready to use on the CPU.

    name_or_path: a folder that transformers wrote, or a name such as "openai/whisper-base" or
    "facebook/wav2vec2-base-960h". layer: which of its layers speaks; 0 is what goes into the first, -1 the last.
    Raises FileNotFoundError when its weights are not there, ValueError for another kind of model and for a layer that it
    does not have.
    """
    guard()
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

    def local(kind: Any) -> Any:
        return kind.from_pretrained(name_or_path, local_files_only=True)

    absent = (
        f"the speech encoder '{name_or_path}' is not on this machine, or is of no kind that transformers knows: give the "
        "folder that holds its config, its preprocessor's config and its weights, or download it once with `hf download`."
    )
    try:
        config: PretrainedConfig = local(AutoConfig)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(absent) from error
    depth = _depth(config, name_or_path)
    if not -depth - 1 <= layer <= depth:
        raise ValueError(f"{name_or_path} has {depth} layers, not a layer {layer}: give {-depth - 1} to {depth}.")
    try:
        model, extractor = local(AutoModel).eval().float(), local(AutoFeatureExtractor)
    except OSError as error:
        raise FileNotFoundError(absent) from error
    hear = _whisper if config.model_type == "whisper" else _waveform
    return SpeechEncoder(hear(model, extractor, layer), config.hidden_size)


def _depth(config: "PretrainedConfig", name: str | Path) -> int:
    """How many layers the encoder has. Raises ValueError when it is of a kind that we do not know how to ask."""
    if config.model_type == "whisper":
        return config.encoder_layers
    if config.model_type not in WAVEFORM_MODELS or FRAME_LENGTH % prod(config.conv_stride):
        known = ", ".join(sorted(WAVEFORM_MODELS | {"whisper"}))
        raise ValueError(f"{name} is a model of kind '{config.model_type}', not one of {known} with 40 ms in whole steps.")
    return config.num_hidden_layers


def _waveform(model: Any, extractor: Any, layer: int) -> Hear:
    """wav2vec 2.0 and its kin: convolutions on the waveform itself, most with a step of 320 samples."""
    field, step = 1, 1
    for kernel, stride in zip(model.config.conv_kernel, model.config.conv_stride, strict=True):
        field, step = field + (kernel - 1) * step, step * stride
    before = (field - step) // 2  # an output hears so many samples more than its step, on either side

    @torch.inference_mode()
    def hear(samples: np.ndarray) -> torch.Tensor:
        heard = extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
        heard = torch.nn.functional.pad(heard, (before, field - step - before))
        return model(heard, output_hidden_states=True).hidden_states[layer][0]

    return hear


def _whisper(model: Any, extractor: Any, layer: int) -> Hear:
    """Whisper: a log-mel of 30 s, outputs every 320 samples, the first around sample 0."""
    lead = 160  # moves output 1 to the middle of the first 320 samples

    @torch.inference_mode()
    def hear(samples: np.ndarray) -> torch.Tensor:
        heard = extractor(np.pad(samples, (lead, 0)), sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        states = model.get_encoder()(heard, output_hidden_states=True).hidden_states[layer][0]
        return states[1 : 1 + len(samples) // (2 * lead)]

    return hear
