"""What the method asks of a GPU, found out without one: its waits, launches, bytes and floating-point operations.

Tensors without content (``meta``) stand for the device's, so that the very code that CUDA runs is run, and each operation is seen
on its way to the dispatcher. What would make the host wait for the device between ``launch`` and ``collect`` is a ``Wait``: a value
that is looked at, a shape that depends on values, a copy between host and device, a Python list or number that has to be sent.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from depth_retrofit_ros.bench.cost import ATTENTION, Cost, Kernel, bytes_of, convolution_flops, flops_of, is_half
from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarseModel, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.device.cuda_streams import Fetched, StageTimer
from depth_retrofit_ros.device.launches import Launch, observed
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.refinement.base import Refiner
from depth_retrofit_ros.refinement.pixels.network import RefinerNet
from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.runtime.device_outputs import DeviceOutputs
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.area_average import downsample

META = torch.device("meta")
PACKAGE = Path(__file__).resolve().parents[1]
# Of operations that look at values, or whose result has a shape that depends on them.
LOOKS = {"_local_scalar_dense", "item", "nonzero", "nonzero_numpy", "masked_select", "equal", "is_nonzero", "bincount"}
LOOKS |= {"unique_consecutive", "unique_dim", "_unique2"}
INDEXING = {torch.Tensor.__getitem__, torch.Tensor.__setitem__}
SENT = {torch.tensor, torch.as_tensor, torch.asarray, torch.from_numpy}  # what they make lies on the host first
WHOLE = (ATTENTION, "upsample_")  # beginnings of what CUDA has one kernel for, and other devices a dozen operations
COPIES = {"clone", "_to_copy", "copy_", "cat", "stack"}  # like pointwise operations, what a compiler makes part of its neighbors


@dataclass(frozen=True, slots=True)
class Wait:
    """A place where the host would wait for the device. what: the operation; where: file and line of this package."""

    what: str
    where: str


class Audit:
    """A record of what is done within ``watching``; by stage where ``stage`` says which one it is."""

    def __init__(self) -> None:
        self.waits: list[Wait] = []
        self.stages: dict[str, Cost] = {}
        self._stage = "outside"

    @contextmanager
    def watching(self) -> Iterator[Audit]:
        """Everything within, on this thread."""
        with _Functions(self), _Operations(self), observed(self._launched):
            yield self

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What is done within belongs to this stage."""
        before, self._stage = self._stage, name
        try:
            yield
        finally:
            self._stage = before

    @property
    def total(self) -> Cost:
        """Of all stages."""
        costs = self.stages.values()
        return Cost([kernel for cost in costs for kernel in cost.kernels], sum(cost.fetched for cost in costs))

    def wait(self, what: str) -> None:
        """Note that the host would wait here."""
        self.waits.append(Wait(what, _here()))

    def launch(self, kernel: Kernel) -> None:
        """Note a kernel."""
        self.stages.setdefault(self._stage, Cost()).kernels.append(kernel)

    def fetch(self, tensor: torch.Tensor) -> None:
        """Note a copy to pinned memory, which is no kernel."""
        self.stages.setdefault(self._stage, Cost()).fetched += bytes_of((tensor,))

    def _launched(self, launched: Launch) -> None:
        """A kernel of Triton; which of its tensors it writes, it does not say: they count as read."""
        flops = convolution_flops(launched)
        self.launch(Kernel(launched.name, bytes_of(launched.tensors), 0, flops, is_half(launched.tensors[:1])))


class _Operations(TorchDispatchMode):
    """Sees each operation of the dispatcher."""

    def __init__(self, audit: Audit) -> None:
        super().__init__()
        self._audit = audit

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if not name.startswith(WHOLE):
            with self:  # what is made of other operations is seen as these
                composed = func.decompose(*args, **kwargs)
            if composed is not NotImplemented:
                return composed
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        on_device = [tensor for tensor in given if tensor.is_meta]
        on_host = [tensor for tensor in given if not tensor.is_meta]
        if on_device and name in LOOKS:
            self._audit.wait(name)
        try:
            result = func(*args, **kwargs)
        except (NotImplementedError, RuntimeError):
            self._audit.wait(f"{name}, which needs the values")
            raise
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if not on_device and not any(tensor.is_meta for tensor in made):
            return result
        crosses = any(tensor.dim() for tensor in on_host) or (on_device and not all(tensor.is_meta for tensor in made))
        if crosses or (on_host and name.startswith(("_to_copy", "copy_"))):
            self._audit.wait(f"{name} between host and device")
        elif name.startswith("index_put") and args[2].dim() == 0:
            self._audit.wait(f"{name} of a number, which is sent")
        if not _is_view(func) and not name.startswith(("empty", "new_empty")):
            owned = {id(tensor) for tensor in given}
            written = [tensor for tensor in made if id(tensor) not in owned]
            written += [tensor for tensor in made if id(tensor) in owned and name.endswith("_")]
            if name == "index_copy_":  # of what it fills it touches no more than it puts there
                on_device, written = on_device[1:], on_device[-1:]
            flops = flops_of(func, args, kwargs, result)
            fusible = torch.Tag.pointwise in func.tags or name in COPIES
            self._audit.launch(Kernel(name, bytes_of(on_device), bytes_of(written), flops, is_half(given), fusible))
        return result


class _Functions(TorchFunctionMode):
    """Sees what the dispatcher does not: values that are made on the host and sent."""

    def __init__(self, audit: Audit) -> None:
        super().__init__()
        self._audit = audit

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in INDEXING and any(isinstance(part, list | np.ndarray) for part in _parts(args[1])):
            self._audit.wait("an index that is a list, which is sent")
        if func in SENT and torch.device(kwargs.get("device") or "cpu").type == "meta":
            self._audit.wait(f"{func.__name__} of values, which are sent")
        return func(*args, **kwargs)


def _parts(index: Any) -> tuple[Any, ...]:
    """Of an index, one a dimension."""
    return index if isinstance(index, tuple) else (index,)


def _is_view(func: Any) -> bool:
    """Whether an operation only looks at its argument's memory in another way."""
    if func._schema.name == "aten::_unsafe_view":  # which does not say so
        return True
    returns = func._schema.returns
    return bool(returns) and all(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def _here() -> str:
    """The innermost line of this package that is at work, but for this file."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if PACKAGE in path.parents and path != Path(__file__).resolve():
            return f"{path.relative_to(PACKAGE)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "outside the package"


class BlankModel:
    """A coarse model that only says how large its input and its answer are: the cost of all that is around a model.

    input_size, answer_size: (h, w); channels: of its features, in half precision, of the answer's size.
    """

    name, claim, device = "blank", ScaleClaim("up-to-scale", "never"), META

    def __init__(self, input_size: tuple[int, int], answer_size: tuple[int, int], channels: int = 32) -> None:
        self.input_size, self.answer_size, self.channels = input_size, answer_size, channels

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel.predict``; nothing but the averaging of the image is done."""
        downsample(image, self.input_size)
        depth = torch.empty(self.answer_size, device=META)
        return CoarsePrediction(depth, torch.empty(self.channels, *self.answer_size, dtype=torch.float16, device=META))


class _Stages(StageTimer):
    """Stages that an audit is told of."""

    def __init__(self, audit: Audit) -> None:
        super().__init__(META)
        self._audit = audit

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        with self._audit.stage(name):
            yield


class AuditedRetrofit(Retrofit):
    """The method on tensors without content, each stage seen by ``audit``.

    refiner: one that is on ``META``; or the network of the sparse one, which Triton's kernels compute in half precision. rows: how
    many rows the second, third … level of its pyramid have, as a frame has; where it is empty, as many as they can have.
    """

    def __init__(self, coarse: CoarseModel, refiner: RefinerNet | Refiner[Any], budget: float, rows: Sequence[int] = ()) -> None:
        super().__init__(coarse, _by_kernels(refiner, rows) if isinstance(refiner, RefinerNet) else refiner, budget)
        self.audit = Audit()

    def watch(self, size: tuple[int, int], outputs: Collection[str] = (), stride: int = 2) -> Audit:
        """The audit of one frame of ``size = (H, W)``, after another, with which all is made that lasts.

        outputs: what the node would publish of it, names of ``DeviceOutputs``, each a stage; stride: of the cloud.
        """
        frame = Frame(np.zeros((*size, 3), np.uint8), camera=Camera.from_hfov(size[1], size[0], 70.0))
        made = _Outputs(self)
        made.begin(self(frame), frame, outputs, stride)
        self.audit = Audit()
        with self.audit.watching():
            made.begin(self(frame), frame, outputs, stride)
        return self.audit

    def _stages(self) -> StageTimer:
        return _Stages(self.audit)


def _by_kernels(network: RefinerNet, rows: Sequence[int]) -> SparseRefiner:
    from depth_retrofit_ros.sparse.backends.triton.backend import TritonBackend

    class Backend(TritonBackend):
        def most(self, pixels: PixelSet, level: int) -> int:
            return rows[level - 1] if rows else super().most(pixels, level)

    return SparseRefiner(copy.deepcopy(network).to(META), Backend(), torch.float16)


class _Outputs(DeviceOutputs):
    """Outputs that an audit is told of; nothing is filled, of tensors without content."""

    def __init__(self, retrofit: AuditedRetrofit) -> None:
        super().__init__(META)
        self._retrofit = retrofit

    def _stage(self, name: str) -> AbstractContextManager[None]:
        return self._retrofit.audit.stage(name)

    def _fetch(self, name: str, tensor: torch.Tensor) -> Fetched:
        self._retrofit.audit.fetch(tensor)
        return Fetched(tensor)
