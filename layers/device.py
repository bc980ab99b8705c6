"""Where models run: the one reading of `device=` and `--device`, and what machine this is."""

import os
import platform
from typing import Any, Literal, get_args

import torch

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


def pick_device(name: DeviceName = "auto") -> torch.device:
    """Return the device of that name; "auto" takes CUDA if there is one, else Apple's GPU, else the CPU.

    Raises ValueError if the name is unknown or if this machine (or this build of torch) lacks such a device.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, there in present.items() if there))
    if name not in present:
        raise ValueError(f"device '{name}' is unknown: choose one of {', '.join(get_args(DeviceName))}.")
    if not present[name]:
        reason = "this torch is a CPU build" if name == "cuda" and not torch.version.cuda else "this machine has none"
        raise ValueError(f"device '{name}' is not to be had ({reason}): choose auto or cpu.")
    return torch.device(name)


def machine() -> dict[str, Any]:
    """What figures are taken on, and how busy it is."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count(), "load": load}
