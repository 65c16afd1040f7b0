"""Fixtures that hold a network to its published one: the same weights in both, and samples of what the published code answered.

A fixture is made once, with the published code beside ours, by ``benchmarks/check_networks.py``. It fills both (``fill``), runs
both on the same ``random_input``, compares, and writes the ``digest`` of the published one's answers and its ``signature``, with
the ``source`` of that code and the ``largest_difference`` of each output then. The test fills ours alone and compares.

Weights and inputs follow from a name and a seed and nothing else, neither the order of construction nor a library's version:
values are drawn by NumPy's frozen ``RandomState``, seeded with the SHA-256 of seed and name.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FIXTURES = Path(__file__).parent / "fixtures"
SAMPLES = 32  # values of each output in a digest
SOURCE = r"[\w.-]+/[\w.-]+@[0-9a-f]{40}"  # where published code was taken from: repository on GitHub and commit
_GOLDEN = (math.sqrt(5) - 1) / 2


def fill(module: nn.Module, seed: int = 0, name_of: Callable[[str], str] = str) -> None:
    """Set every parameter and stored buffer from its name; name_of: the name in the published code, where ours differs.

    Matrices and kernels are uniform with variance 1 / fan-in, so that a deep network neither fades nor overflows; factors of
    norms and layer scales are about 1, biases and tokens about 0.1. Counters (integers) stay as they are.
    """
    with torch.no_grad():
        for name, tensor in module.state_dict(keep_vars=True).items():
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(_weights(name_of(name), tuple(tensor.shape), seed)))


def random_input(name: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """``float32`` values in 0…1, of that shape."""
    return torch.from_numpy(_generator(name, seed).uniform(0.0, 1.0, shape).astype(np.float32))


def signature(module: nn.Module, name_of: Callable[[str], str] = str) -> dict[str, Any]:
    """Number of tensors and of values in the state dict, and a hash of all names with their shapes; works on the meta device."""
    entries = sorted(f"{name_of(name)} {list(tensor.shape)}" for name, tensor in module.state_dict().items())
    values = sum(tensor.numel() for tensor in module.state_dict().values())
    return {"tensors": len(entries), "values": values, "sha256": hashlib.sha256("\n".join(entries).encode()).hexdigest()}


def digest(outputs: Mapping[str, Tensor]) -> dict[str, Any]:
    """Of each output its shape, its standard deviation, and values at ``SAMPLES`` places spread over it."""
    return {
        name: {"shape": list(output.shape), "spread": _rounded(_spread(output)), "values": [_rounded(v) for v in _sampled(output)]}
        for name, output in outputs.items()
    }


def mismatches(outputs: Mapping[str, Tensor], expected: Mapping[str, Any], tolerance: float = 1e-4) -> list[str]:
    """What differs from a ``digest``, one line each; tolerance: of a value, relative to the output's size."""
    told = [f"{name} is missing" for name in expected if name not in outputs]
    for name, output in outputs.items():
        if name not in expected:
            told.append(f"{name} is in no fixture")
            continue
        wanted = expected[name]
        if list(output.shape) != wanted["shape"]:
            told.append(f"{name} is {list(output.shape)}, not {wanted['shape']}")
            continue
        values = np.asarray(wanted["values"])
        worst = float(np.abs(np.asarray(_sampled(output)) - values).max())
        if not worst <= tolerance * max(1.0, float(np.abs(values).max())):  # written so that NaN fails
            told.append(f"{name} is off by {worst:.2e}")
        if not wanted["spread"] > 10 * tolerance:
            told.append(f"{name} hardly varies ({wanted['spread']}): its fixture proves nothing")
    return told


def read_fixture(name: str) -> Any:
    """The fixture ``name``, as it was given to ``write_fixture``."""
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


def write_fixture(name: str, content: Any) -> None:
    """See ``benchmarks/check_networks.py``."""
    FIXTURES.mkdir(exist_ok=True)
    (FIXTURES / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _generator(name: str, seed: int) -> np.random.RandomState:
    words = np.frombuffer(hashlib.sha256(f"{seed} {name}".encode()).digest(), "<u4")
    return np.random.RandomState([int(word) for word in words])


def _weights(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    values = _generator(name, seed).uniform(-1.0, 1.0, shape or (1,)).reshape(shape) * math.sqrt(3)  # variance 1
    last = name.rpartition(".")[2]
    if last == "running_var":
        values = 1 + 0.3 * np.abs(values)
    elif len(shape) <= 1 and last in ("weight", "gamma"):
        values = 1 + 0.2 * values
    elif last == "weight":
        values = values / math.sqrt(math.prod(shape[1:]))
    else:
        values = 0.1 * values
    return values.astype(np.float32)


def _sampled(output: Tensor) -> list[float]:
    flat = output.detach().double().flatten()
    places = [int((index + 0.5) * _GOLDEN % 1.0 * flat.numel()) for index in range(min(SAMPLES, flat.numel()))]
    return [float(flat[place]) for place in places]


def _spread(output: Tensor) -> float:
    return float(output.detach().double().std(correction=0))


def _rounded(value: float) -> float:
    return float(f"{value:.7g}")
