"""Which device to compute on."""

from __future__ import annotations

import torch

from depth_retrofit_ros.errors import ModelError


def pick_device(name: str) -> torch.device:
    """``auto`` (CUDA where there is one, else CPU), ``cpu``, ``cuda`` or ``cuda:N``. Others, or absent CUDA, raise ModelError."""
    if name == "auto":
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (kind == "cpu" and name != "cpu") or (name != kind and not index.isdecimal()):
        raise ModelError(f"unknown device '{name}': use auto, cpu, cuda or cuda:N")
    if kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ModelError(f"device '{name}' asked for but PyTorch sees no CUDA device: use cpu, or install a CUDA build of torch")
    number, count = int(index) if index else torch.cuda.current_device(), torch.cuda.device_count()
    if number >= count:
        raise ModelError(f"device '{name}' does not exist: this machine has cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", number)
