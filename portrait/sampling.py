"""From noise to motion: windows with memory, Euler steps, and guidance that knows the face.

Five steps by the animator make a window of 64 frames; the next window remembers the last ten. Guidance is nested
(audio outside, emotion inside), stronger on the mouth than elsewhere, and emotion is kept off the opening of the lips.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import repeat
from torch import Tensor

from mien.portrait.animator import MEMORY, WINDOW, Animator, Conditions
from mien.portrait.motion import CHANNELS, REGIONS


@dataclass(frozen=True)
class Guidance:
    """How strongly each condition leads; 1 is the conditional model itself.

    audio: on the mouth; other regions get at most 1.25, beyond which heads and brows twitch. emotion, style: everywhere.
    """

    audio: float = 1.25
    emotion: float = 1.0
    style: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """Euler steps of the flow from noise (sigma 1) to motion (sigma 0).

    temperature: spread of the noise that the mouth starts from; below 1 lips say what they hear more surely, while head
    and brows keep their liveliness.
    """

    steps: int = 5
    temperature: float = 0.85


@torch.inference_mode()
def windows(
    model: Animator,
    audio: np.ndarray,
    emotion: np.ndarray,
    style: Tensor | None,
    aperture: np.ndarray,
    *,
    seed: int = 0,
    guidance: Guidance = Guidance(),  # noqa: B008 - frozen
    schedule: Schedule = Schedule(),  # noqa: B008 - frozen
    gates: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Motion of any length, a window at a time.

    audio: (T, A) speech features at 25 Hz. emotion: (T, 8) weights per frame. style: (1, K, W) tokens or None.
    aperture: (36,) z-scored direction of the lips' opening. gates: (2, regions) gains on those of audio and of style.
    Yields z-scored motion (n, 36), n <= WINDOW, T frames in all. Same seed, same motion.
    """
    parameter = next(model.parameters())
    device, dtype = parameter.device, parameter.dtype
    generator = torch.Generator().manual_seed(seed)  # on the CPU, so that a seed means the same everywhere
    total = len(audio)
    audio_t = _framed(audio, total).to(device, dtype)
    emotion_t = _framed(emotion, total).to(device, dtype)
    memory = torch.zeros(1, MEMORY, CHANNELS, device=device, dtype=dtype)
    lips = torch.as_tensor(aperture / np.linalg.norm(aperture), device=device, dtype=dtype)
    turned = None if gates is None else torch.as_tensor(gates, device=device, dtype=dtype)
    for start in range(0, total, WINDOW):
        span = slice(start, start + MEMORY + WINDOW)
        noise = torch.randn(1, WINDOW, CHANNELS, generator=generator).to(device, dtype)
        present = torch.ones(1, dtype=torch.bool, device=device)
        conditions = Conditions(
            audio=audio_t[None, span],
            style=style.to(device, dtype) if style is not None else model.no_style[None],
            emotion=emotion_t[None, span],
            memory=memory,
            has_audio=present,
            has_style=present & (style is not None),
            has_memory=present & (start > 0),
        )
        noise[..., REGIONS["mouth"]] *= schedule.temperature
        motion = denoise(model, noise, conditions, lips, guidance, schedule, turned)
        memory = motion[:, -MEMORY:]
        yield motion[0, : total - start].float().cpu().numpy()


def _framed(values: np.ndarray, total: int) -> Tensor:
    """Frames before the first and after the last one, held: every window has its MEMORY past and its full length."""
    padded = -(-total // WINDOW) * WINDOW
    return torch.from_numpy(np.pad(values.astype(np.float32), ((MEMORY, padded - total), (0, 0)), mode="edge"))


def load_scheduler() -> type:
    """diffusers' FlowMatchEulerDiscreteScheduler, imported on first use and safe beside any torchaudio."""
    from mien.layers.torchaudio_guard import guard

    guard()
    from diffusers import FlowMatchEulerDiscreteScheduler  # pyright: ignore[reportPrivateImportUsage] - lazy package

    return FlowMatchEulerDiscreteScheduler


def denoise(
    model: Animator,
    noise: Tensor,
    conditions: Conditions,
    lips: Tensor,
    guidance: Guidance,
    schedule: Schedule,
    gates: Tensor | None = None,
) -> Tensor:
    """One window: noise (1, WINDOW, 36) to motion, by diffusers' Euler scheduler on the predicted velocity."""
    scheduler = load_scheduler()()
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / schedule.steps, schedule.steps).tolist(), device=noise.device)
    x = noise
    for timestep, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        clean = guided(model, x, sigma, conditions, lips, guidance, gates)
        x = scheduler.step((x - clean) / sigma, timestep, x, return_dict=False)[0]
    return x


def guided(
    model: Animator,
    x: Tensor,
    sigma: Tensor,
    conditions: Conditions,
    lips: Tensor,
    guidance: Guidance,
    gates: Tensor | None = None,
) -> Tensor:
    """Clean motion (1, WINDOW, 36) under nested guidance.

    clean = none + audio * (speech - none) + style * (styled - speech) + emotion * (feeling - styled), where only the
    branches that differ are run, and the feeling's difference has no part along the lips' opening.
    """
    feels, styled = bool(conditions.emotion.any()), bool(conditions.has_style.any())
    rows = {"none": (False, False, False), "speech": (True, False, False)}
    if styled:
        rows["styled"] = (True, True, False)
    if feels:
        rows["feeling"] = (True, styled, True)
    if guidance.audio == 1:
        del rows["none"]
    flags = torch.tensor(list(rows.values()), device=x.device)
    batch = replace(
        conditions,
        **{name: repeat(getattr(conditions, name), "1 ... -> b ...", b=len(rows)) for name in ("audio", "style", "memory")},
        emotion=conditions.emotion * flags[:, 2, None, None],
        has_audio=flags[:, 0],
        has_style=flags[:, 1],
        has_memory=repeat(conditions.has_memory, "1 -> b", b=len(rows)),
    )
    out = model(repeat(x, "1 t d -> b t d", b=len(rows)), sigma.expand(len(rows)).to(x.dtype), batch, gates)
    clean = dict(zip(rows, out.split(1), strict=True))
    result = clean["speech"]
    if "none" in clean:
        strength = x.new_full((CHANNELS,), min(guidance.audio, 1.25))
        strength[REGIONS["mouth"]] = guidance.audio
        result = clean["none"] + strength * (clean["speech"] - clean["none"])
    base = clean["speech"]
    if styled:
        result = result + guidance.style * (clean["styled"] - base)
        base = clean["styled"]
    if feels:
        change = clean["feeling"] - base
        change = change - (change @ lips)[..., None] * lips
        result = result + guidance.emotion * change
    return result
