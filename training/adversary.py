"""Judges that learn to tell made sound from recorded sound, for the last stage of whatever makes sound.

Small convolutional discriminators on spectrograms of several sizes, least-squares losses (Mao et al. 2016,
https://arxiv.org/abs/1611.04076) and feature matching. A step asks one of them, drawn by chance:
that is what a CPU can pay.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F


class SpectrogramJudge(nn.Module):
    """Log-magnitudes of one size to a map of scores: near 1 for recorded, near 0 for made."""

    def __init__(self, n_fft: int, channels: int = 16):
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        sizes = [(1, channels, 9), (channels, channels, 9), (channels, 2 * channels, 5), (2 * channels, 2 * channels, 5)]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, (3, k), stride=(1, 2), padding=(1, k // 2)) for a, b, k in sizes)
        self.out = nn.Conv2d(2 * channels, 1, 3, padding=1)

    def forward(self, sound: Tensor) -> list[Tensor]:
        """(B, S) sound to the features of every layer, scores last."""
        window = self.get_buffer("window")
        spectrum = torch.stft(sound.float(), self.n_fft, self.n_fft // 4, window=window, return_complex=True)
        x = (spectrum.abs() + 1e-3).log().transpose(1, 2)[:, None]
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
            features.append(x)
        return [*features, self.out(x)]


class Adversary(nn.Module):
    """The judges, and what a step's sound and they say of each other."""

    sizes = (256, 512, 1024)

    def __init__(self):
        super().__init__()
        self.judges = nn.ModuleList(SpectrogramJudge(size) for size in self.sizes)

    def losses(self, made: Tensor, recorded: Tensor) -> dict[str, Tensor]:
        """Two sounds (B, S), each at its own level, to `judge` (for the judges), `adversarial` and `matching` (for the
        maker). The judges' weights stand still in what the maker learns from, and the other way round."""
        level = recorded.square().mean(1, keepdim=True).sqrt() + 1e-4
        made, recorded = made / level * 0.1, recorded / level * 0.1
        judge = self.judges[int(torch.randint(len(self.judges), ()))]
        real, fake = judge(recorded), judge(made.detach())
        loss = (1 - real[-1].float()).square().mean() + fake[-1].float().square().mean()
        frozen = {name: value.detach() for name, value in judge.named_parameters()}
        seen = functional_call(judge, frozen, (made,))
        matching = [
            (a.float() - b.detach().float()).abs().mean() / b.detach().float().abs().mean()
            for a, b in zip(seen[:-1], real[:-1], strict=True)
        ]
        return {
            "judge": loss,
            "adversarial": (1 - seen[-1].float()).square().mean(),
            "matching": torch.stack(matching).mean(),
        }
