"""Every Triton kernel of the method, compiled for GPUs that are not here: what each needs of a processor.

Which kernels there are, with which types and constants, an audited frame tells; so none can be forgotten.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from depth_retrofit_ros.bench.audit import AuditedRetrofit, BlankModel
from depth_retrofit_ros.device.launches import Launch, observed, plain
from depth_retrofit_ros.refinement.pixels.network import RefinerNet

OUTPUTS = ("depth", "depth_mm", "points", "preview", "selection", "normals", "normals_preview")
ARCHITECTURES = (80, 87, 89, 90, 100)  # A100, Jetson Orin, RTX 4090, H100, B200 and Thor's family
_TYPES = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.uint8: "*u8",
    torch.int16: "*i16",
    torch.int32: "*i32",
    torch.int64: "*i64",
}


@dataclass(frozen=True, slots=True)
class Compiled:
    """registers: of a thread; spilled: bytes a thread keeps in local memory for want of registers; shared: bytes of a program."""

    registers: int
    spilled: int
    shared: int


def launches_of(network: RefinerNet, size: tuple[int, int] = (90, 160), grid: tuple[int, int] = (18, 32)) -> list[Launch]:
    """Of one frame of ``size`` and all that can be published of it, with a coarse map of ``grid``: each kernel once for each set of
    types and constants."""
    seen: dict[tuple[Any, ...], Launch] = {}

    def keep(launch: Launch) -> None:
        types = tuple(tensor.dtype for tensor in launch.tensors)
        seen.setdefault((launch.name, types, tuple(sorted(launch.constants.items()))), launch)

    retrofit = AuditedRetrofit(BlankModel(grid, grid), network, 0.1)
    with observed(keep):
        retrofit.watch(size, OUTPUTS)
    return list(seen.values())


def machine_code(launch: Launch, architecture: int) -> Any:
    """What Triton compiles for compute capability ``architecture`` (87 is 8.7)."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function = plain(launch.kernel)
    given = {**launch.constants, **_configuration(launch.kernel)}
    constants = {name: value for name, value in given.items() if name in function.arg_names}
    options = {name: value for name, value in given.items() if name not in constants}  # such as ``enable_fp_fusion``
    plain_names = [name for name in function.arg_names if name not in constants]
    signature = dict(zip(plain_names, map(_type_of, launch.arguments), strict=True)) | dict.fromkeys(constants, "constexpr")
    ordered = {name: signature[name] for name in function.arg_names}
    source = ASTSource(fn=function, signature=ordered, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)


def resources(compiled: Any) -> Compiled:
    """What the compiled kernel needs, as NVIDIA's own tool says it; Triton's wheel has that."""
    from triton import knobs

    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(compiled.asm["cubin"])
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", str(cubin)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {key: int(value) for key, value in re.findall(r"\b(REG|STACK|LOCAL|SHARED):(\d+)", told)}
    return Compiled(found["REG"], found["STACK"] + found["LOCAL"], int(compiled.metadata.shared))


def _configuration(kernel: Any) -> dict[str, Any]:
    """The first of the configurations of an autotuned kernel."""
    configs: Sequence[Any] = getattr(kernel, "configs", ())
    return dict(configs[0].kwargs) if configs else {}


def _type_of(argument: Any) -> str:
    if isinstance(argument, torch.Tensor):
        return _TYPES[argument.dtype]
    return "fp32" if isinstance(argument, float) else "i32"
