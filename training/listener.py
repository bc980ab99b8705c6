"""How far made sound is from recorded sound: as spectra, to the speech front, and to a big recogniser if there is one.

What a listener would understand is not in the spectra: a blurred consonant is a small error to them and a lost word to an
ear. So networks that recognise speech hear both sounds, and should hear the same in both (for the front after the
recognition loss of JHCodec).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.codec.front import Front
from mien.layers.torchaudio_guard import guard
from mien.training.spectra import SpectralLoss

SAMPLE_RATE = 16_000


class Listener:
    """Judges made sound. front: a frozen speech front. recogniser: Whisper, a folder that transformers wrote or a cached
    name; None leaves it out."""

    def __init__(self, front: Front, recogniser: str | None = None):
        self.front = front.requires_grad_(False)
        self.spectra = SpectralLoss(SAMPLE_RATE)
        self.recogniser = WhisperEar(recogniser) if recogniser else None

    def losses(self, made: Tensor, recorded: Tensor, hardest: Tensor) -> dict[str, Tensor]:
        """Two sounds (B, S), S a multiple of 320, to the losses of `SpectralLoss`, `recognition` and `understanding`.

        hardest: rows of the batch that the big recogniser hears, which costs too much for all.
        """
        self.front.to(made.device)
        self.spectra.to(made.device)
        with torch.no_grad():
            _, said, _ = self.front(recorded)
        _, heard, _ = self.front(made)
        recognition = F.kl_div(heard.float().log_softmax(-1), said.float().softmax(-1), reduction="none").sum(-1).mean()
        losses = self.spectra(made, recorded) | {"recognition": recognition}
        if self.recogniser is None:
            return losses
        return losses | {"understanding": self.recogniser.to(made.device)(made[hardest], recorded[hardest])}


class WhisperEar(nn.Module):
    """The encoder of Whisper, frozen, hearing clips as short as they are. Raises FileNotFoundError without its weights."""

    encoder: Any  # of transformers: a checker of types sees only a module
    filters: Tensor
    window: Tensor

    def __init__(self, name_or_path: str):
        super().__init__()
        guard()
        from transformers import WhisperFeatureExtractor, WhisperModel

        try:
            model = WhisperModel.from_pretrained(name_or_path, local_files_only=True)
            extractor = WhisperFeatureExtractor.from_pretrained(name_or_path, local_files_only=True)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"Whisper's weights are not at '{name_or_path}': give a folder that transformers wrote, or download one."
            ) from error
        self.encoder = model.get_encoder().eval().float().requires_grad_(False)
        self.hop, self.size = extractor.hop_length, extractor.n_fft
        self.register_buffer("filters", torch.from_numpy(np.asarray(extractor.mel_filters)).float())
        self.register_buffer("window", torch.hann_window(self.size))

    def forward(self, made: Tensor, recorded: Tensor) -> Tensor:
        """What tells two sounds (B, S) apart: the mean squared difference of their features, in units of variance."""
        with torch.no_grad():
            said = self._hear(recorded).float()
        spread = said.std((0, 1)) + 1e-3
        return ((self._hear(made).float() - said) / spread).square().mean()

    def _hear(self, samples: Tensor) -> Tensor:
        with torch.autocast(samples.device.type, enabled=False):
            spectrum = torch.stft(samples.float(), self.size, self.hop, window=self.window, return_complex=True)[..., :-1]
            power = spectrum.real.square() + spectrum.imag.square()
            mel = (power.transpose(1, 2) @ self.filters).clamp(min=1e-10).log10()
            mel = (torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8) + 4) / 4
        x = F.gelu(self.encoder.conv1(mel.transpose(1, 2)))
        x = F.gelu(self.encoder.conv2(x)).transpose(1, 2)
        x = x + self.encoder.embed_positions.weight[: x.shape[1]]
        for layer in self.encoder.layers:
            x = layer(x, None)
        return self.encoder.layer_norm(x)
