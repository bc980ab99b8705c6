"""From a heard voice and a feeling to motion, window by window: the animator and its guarantees, as one thing to call."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mien import checkpoints
from mien.portrait.animator import EMOTIONS, Animator, AnimatorConfig
from mien.portrait.controls import Controls
from mien.portrait.feelings import felt, trade_smile
from mien.portrait.gates import gains
from mien.portrait.guarantees import Gaze, draw_plan, enforce, steadied
from mien.portrait.manner import Manner
from mien.portrait.motion import REGIONS, load_space
from mien.portrait.sampling import load_scheduler, windows
from mien.portrait.speech import Heard, check_codec, hear, hear_tokens

if TYPE_CHECKING:
    from mien.codec.phones import Segment
    from mien.codec.tokens import Tokens

HEAD_GAIN = 1.25  # a few Euler steps and a steady hand leave heads at 0.66 of the speed of real ones


class Performer:
    """A loaded animator.

    model: name of a checkpoint or its path. device: where the network runs. Raises ValueError for a checkpoint that hears
    through another codec than ours.
    """

    def __init__(self, model: str = "animator-nano", device: torch.device | str = "cpu"):
        checkpoint = checkpoints.load(model)
        self.config = checkpoint.built(AnimatorConfig)
        check_codec(self.config.audio, self.config.codec)
        self.model = Animator(self.config)
        self.model.load_state_dict({name: tensor.float() for name, tensor in checkpoint.tensors.items()})
        self.model.eval().to(device)
        self.space = load_space()
        load_scheduler()  # slow to import: better now than between the first two frames

    def hear(self, samples: np.ndarray, phones: "Iterable[Segment] | None" = None) -> Heard:
        """16 kHz mono (S,) as this animator hears it. phones: what is said and when, where that is known."""
        return hear(samples, self.config.audio, phones)

    def hear_tokens(self, tokens: "Tokens", phones: "Iterable[Segment] | None" = None) -> Heard:
        """A coded recording as this animator hears it. Raises ValueError for another codec's tokens."""
        return hear_tokens(tokens, self.config.audio, phones)

    @torch.inference_mode()
    def style(self, manner: Manner) -> Tensor:
        """A manner as the animator sees it: (1, K, W) tokens."""
        z = (manner.sample - self.space.mean) / self.space.std
        device = next(self.model.parameters()).device
        return self.model.style_encoder(torch.from_numpy(z.astype(np.float32))[None].to(device))

    def perform(
        self,
        heard: Heard,
        emotion: np.ndarray,
        *,
        style: Manner | None = None,
        seed: int = 0,
        gaze: Gaze = "human",
        controls: Controls = Controls(),  # noqa: B008 - frozen
        gates: Mapping[str, float] | None = None,
    ) -> Iterator[np.ndarray]:
        """Motion (n, 36) in natural units, a window at a time.

        heard: T frames. emotion: (T, 8) weights. style: None for the model's own. gates: see `sampled`.
        """
        space = self.space
        if style is not None:
            controls = style.dials(controls)
        plan = draw_plan(heard, emotion, seed, gaze, controls.blink)
        made = self.sampled(heard, style=style, seed=seed, gates=gates)
        spread = space.std.copy()
        spread[: REGIONS["scale"].stop] *= HEAD_GAIN
        calm = steadied(z * spread + space.mean for z in made)
        done, first_pose = 0, None
        for values in (window - trade_smile() for window in calm) if style is None else style.laid_on(calm):
            values = felt(values, emotion[done : done + len(values)])
            values[:, : REGIONS["scale"].stop] *= controls.head
            first_pose = values[0, :6].copy() if first_pose is None else first_pose
            yield enforce(values, plan[done : done + len(values)], space, first_pose, controls)
            done += len(values)

    def sampled(
        self, heard: Heard, *, style: Manner | None = None, seed: int = 0, gates: Mapping[str, float] | None = None
    ) -> Iterator[np.ndarray]:
        """What the network makes of a voice, calm and before anything is laid on: z-scored motion (n, 36), by windows.

        gates: gains by the names of `gates.NAMES`, on how far parts of the face listen to voice and manner.
        """
        calm = np.zeros((len(heard), EMOTIONS), np.float32)
        manner = None if style is None else self.style(style)
        lips = self.space.aperture_direction * self.space.std
        return windows(self.model, heard.features, calm, manner, lips, seed=seed, gates=gains(gates))
