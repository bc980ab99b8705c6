"""How far two sounds are apart, as spectra of several sizes: the losses of whatever makes sound."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.codec.mel import mel_filters

FLOOR = 1e-5  # of magnitudes under the logarithm: -100 dB of full scale, below what is heard


LOUDNESS = 0.23  # exponent of a band's power (Zwicker and Fastl 1990, Psychoacoustics)


class SpectralLoss(nn.Module):
    """Log-mel L1, log-magnitude L1 and spectral convergence (Yamamoto et al. 2020, https://arxiv.org/abs/1910.11480), and
    the error of loudness in mel bands over the mean loudness, each the mean over transforms from short to long."""

    sizes = ((256, 20), (512, 40), (1024, 80), (2048, 128))  # samples of the transform, mel bands

    def __init__(self, sample_rate: int = 16_000):
        super().__init__()
        for n_fft, n_mels in self.sizes:
            filters = mel_filters(sample_rate, n_fft, n_mels, 20.0, sample_rate / 2)
            self.register_buffer(f"filters_{n_fft}", filters / filters.sum(0), persistent=False)
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)

    def forward(self, sound: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Two sounds (B, S) to the losses `mel`, `magnitude`, `convergence` and `loudness`."""
        both = torch.cat([sound.float(), target.float()])
        out = {name: both.new_zeros(()) for name in ("mel", "magnitude", "convergence", "loudness")}
        for n_fft, _ in self.sizes:
            window = self.get_buffer(f"window_{n_fft}")
            spectrum = torch.stft(both, n_fft, n_fft // 4, window=window, return_complex=True, pad_mode="constant")
            power = (spectrum.real.square() + spectrum.imag.square()) / window.square().sum()
            magnitude = (power + FLOOR**2).sqrt().transpose(1, 2)  # (2 B, T, bins)
            a, b = magnitude.chunk(2)
            with torch.autocast(both.device.type, enabled=False):  # a bfloat16's step would be half a decibel
                bands = magnitude @ self.get_buffer(f"filters_{n_fft}")
            mel_a, mel_b = bands.log().chunk(2)
            out["mel"] = out["mel"] + F.l1_loss(mel_a, mel_b)
            loud_a, loud_b = bands.pow(2 * LOUDNESS).chunk(2)
            error = (loud_a - loud_b).abs().mean((1, 2)) / loud_b.mean((1, 2))
            out["loudness"] = out["loudness"] + error.mean()
            out["magnitude"] = out["magnitude"] + F.l1_loss(a.log(), b.log())
            apart = (a - b).square().sum((1, 2)) / (b.square().sum((1, 2)) + 1e-3)  # a silent target asks for no share
            out["convergence"] = out["convergence"] + (apart + 1e-8).sqrt().mean()
        return {name: value / len(self.sizes) for name, value in out.items()}
