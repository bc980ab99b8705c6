"""What a face is seen to feel: the expression network of face-api.js, which no network here was trained on or by.

Its weights (330 kB, MIT) are not in this package: give the folder `weights` of github.com/justadudewhohacks/face-api.js.
Odds of one crop are nearly always 0 or 1, so logits of a few crops about the face are averaged.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mien.portrait import geometry

SEEN = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")  # in the order of its outputs
MANIFEST = "face_expression_model-weights_manifest.json"
SIDE, MEAN = 112, (122.782, 117.001, 104.298)
CROPS = ((1.0, 0.0), (1.1, -0.04), (1.2, 0.0), (1.3, -0.08))  # side and downward shift of a crop, in sizes of the face


class ExpressionJudge:
    """The network, read from a folder. Raises FileNotFoundError in one sentence if it does not hold the weights."""

    def __init__(self, folder: str | Path):
        manifest, shard = Path(folder) / MANIFEST, Path(folder) / "face_expression_model-shard1"
        if not (manifest.is_file() and shard.is_file()):
            raise FileNotFoundError(
                f"{folder} holds no {MANIFEST} with its shard: give the folder 'weights' of github.com/justadudewhohacks/"
                "face-api.js."
            )
        self.weights, data, at = {}, shard.read_bytes(), 0
        for entry in json.loads(manifest.read_text())[0]["weights"]:
            coded, count = entry.get("quantization"), int(np.prod(entry["shape"]))
            kind = np.dtype(coded["dtype"] if coded else entry["dtype"])
            values = np.frombuffer(data, kind, count, at).astype(np.float32)
            at += count * kind.itemsize
            if coded:
                values = values * coded["scale"] + coded["min"]
            tensor = torch.from_numpy(values.reshape(entry["shape"]))
            self.weights[entry["name"]] = tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor

    @torch.inference_mode()
    def logits(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """A picture (H, W, 3) uint8 RGB and its face (478, 3) pixels to the logits (7,) of `SEEN`."""
        crops = np.stack([_crop(image, landmarks, *crop) for crop in CROPS]).astype(np.float32)
        x = torch.from_numpy((crops - MEAN) / 255).float().permute(0, 3, 1, 2)
        for number in range(4):
            x = self._dense(x, f"dense{number}")
        x = F.avg_pool2d(x, 7, 2).flatten(1)
        return (x @ self.weights["fc/weights"] + self.weights["fc/bias"]).mean(0).numpy()

    def _dense(self, x: Tensor, name: str) -> Tensor:
        """Four convolutions, the first one halving, each of the others seeing the sum of those before."""
        total = self._convolved(x, f"{name}/conv0", 2)
        for number in (1, 2, 3):
            total = total + self._convolved(F.relu(total), f"{name}/conv{number}", 1)
        return F.relu(total)

    def _convolved(self, x: Tensor, name: str, stride: int) -> Tensor:
        side = -(-x.shape[-1] // stride)
        after = max((side - 1) * stride + 3 - x.shape[-1], 0)  # as TensorFlow pads: more behind than before
        x = F.pad(x, (after // 2, after - after // 2) * 2)
        bias = self.weights[f"{name}/bias"]
        if f"{name}/filters" in self.weights:
            return F.conv2d(x, self.weights[f"{name}/filters"], bias, stride)
        deep = self.weights[f"{name}/depthwise_filter"].transpose(0, 1)
        return F.conv2d(F.conv2d(x, deep, None, stride, groups=len(deep)), self.weights[f"{name}/pointwise_filter"], bias)


def _crop(image: np.ndarray, landmarks: np.ndarray, size: float, down: float) -> np.ndarray:
    """An upright square about a face, from the brows to the chin at size 1: (112, 112, 3)."""
    oval = landmarks[geometry.OVAL, :2]
    low, high = oval.min(0), oval.max(0)
    side = (high - low).max() * size
    x, y = (low + high) / 2 + (0, down * side)
    scale = SIDE / side
    matrix = np.array([[scale, 0, SIDE / 2 - scale * x], [0, scale, SIDE / 2 - scale * y]])
    if scale < 1:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / scale)
    return cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
