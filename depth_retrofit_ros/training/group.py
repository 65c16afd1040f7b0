"""Processes that train one network together, as torchrun starts them: each makes and learns from a share of each step's samples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed import Store  # type: ignore[attr-defined]  # which lacks only the word
from torch.distributed.rendezvous import rendezvous
from torch.nn.modules.batchnorm import _BatchNorm

from depth_retrofit_ros.device.choice import pick_device
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.training.failures import REACHED, failing_together, reachable

PATIENCE = timedelta(hours=6)  # of a process that waits for one that renders or validates; to begin together: ``REACHED``
_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_PLACE = ("MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Group:
    """This process among ``size``: rank 0 validates, logs and writes; local: the same on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that validates, logs and writes."""
        return self.rank == 0

    def places(self, count: int) -> range:
        """Which of a step's ``count`` samples this process makes, at least one: over all processes each exactly once. Raises
        ModelError where there are more processes."""
        if count < self.size:
            raise ModelError(f"{self.size} processes for {count} samples a step: start fewer of them, or give a larger --batch")
        return range(self.rank, count, self.size)

    def device(self, name: str) -> torch.device:
        """``pick_device`` for this process: of several on a machine each has a GPU of its own. Raises ModelError."""
        if self.local_size > 1 and name.startswith("cuda:"):
            raise ModelError(f"--device {name} is one GPU for {self.local_size} processes: give cuda, of which each takes its own")
        device, count = pick_device(name), torch.cuda.device_count()
        if device.type == "cpu" or self.local_size == 1:
            return device
        if self.local_size > count:
            raise ModelError(f"{self.local_size} processes on {count} GPUs: give torchrun --nproc-per-node as many as there are")
        return torch.device("cuda", self.local_rank)

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            with reachable():
                dist.barrier()

    def same(self, network: nn.Module) -> None:
        """Give ``network`` the weights that it has in the process that leads."""
        if self.size > 1:
            with reachable():
                for tensor in network.state_dict().values():
                    dist.broadcast(tensor, 0)

    def of_leader(self, value: float, device: torch.device) -> float:
        """What the process that leads has given here."""
        if self.size == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=device)
        with reachable():
            dist.broadcast(told, 0)
        return float(told)

    def content_of_leader(self, content: bytes, device: torch.device) -> bytes:
        """What the process that leads has given here, of which the others may have none or another."""
        if self.size == 1:
            return content
        length = int(self.of_leader(len(content), device))
        told = torch.zeros(length, dtype=torch.uint8, device=device)
        if self.leads:
            told.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else told)
        if length:
            with reachable():
                dist.broadcast(told, 0)
        return told.cpu().numpy().tobytes()

    def sum(self, values: Tensor) -> Tensor:
        """Over all processes."""
        if self.size == 1:
            return values
        return self._added(values.clone())

    def _added(self, values: Tensor) -> Tensor:
        """``sum`` in place."""
        with reachable():
            dist.all_reduce(values)
        return values

    def sum_gradients(self, network: nn.Module) -> None:
        """Over all processes, by one message. A parameter of which none of them has a gradient stays without one, so that the
        optimizer leaves it as it is."""
        if self.size == 1:
            return
        parameters = [p for p in network.parameters() if p.requires_grad]
        learnt = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = self._added(torch.cat([learnt, *(gradient.float().flatten() for gradient in gradients)]))
        learnt_by, *sums = flat.split([len(parameters), *(p.numel() for p in parameters)])
        for parameter, gradient, by, total in zip(parameters, gradients, learnt_by.tolist(), sums, strict=True):
            parameter.grad = gradient.copy_(total.view_as(gradient)) if by else None

    def share_statistics(self, network: nn.Module) -> None:
        """Make batch normalisation in ``network`` that of all processes' samples; weights stay the same objects. Raises ModelError
        for another kind than PyTorch's own."""
        if self.size == 1:
            return
        for module in list(network.modules()):
            for name, child in list(module.named_children()):
                if not isinstance(child, _BatchNorm) or isinstance(child, SharedBatchNorm):
                    continue
                if type(child) not in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
                    raise ModelError(f"{type(child).__name__} cannot be shared by {self.size} processes: train in one")
                setattr(module, name, SharedBatchNorm(child, self))


ALONE = Group()


def normalises_by_batch(network: nn.Module) -> bool:
    """Whether what it answers for one sample depends on the others while it is trained."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation with weights, buffers and options of ``like``, in training by the statistics of all processes' samples.
    ``nn.SyncBatchNorm`` is for GPUs alone."""

    def __init__(self, like: _BatchNorm, group: Group) -> None:
        super().__init__(like.num_features, like.eps, like.momentum, like.affine, like.track_running_stats)
        self._parameters, self._buffers, self.training = like._parameters, like._buffers, like.training
        self.group = group

    def _check_input_dim(self, input: Tensor) -> None:
        """Any."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, …]``."""
        if not self.training:
            return super().forward(x)
        y, mean, variance = _Normalised.apply(x, self.weight, self.bias, self.eps, self.group)
        self._follow(mean, variance)
        return cast(Tensor, y)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)


class _Normalised(torch.autograd.Function):
    """x by mean and variance over all processes, and these, ``float64 [C]``, the variance unbiased. Each process learns what all
    lose by its samples; kept for that is x alone."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, group: Group
    ) -> tuple[Tensor, Tensor, Tensor]:
        others, channels = _all_but_channels(x), x.shape[1]
        squares_here = torch.linalg.vector_norm(x, 2, others, dtype=torch.float64).square()
        count_here = torch.full((1,), x.numel() / channels, dtype=torch.float64, device=x.device)
        sums = group.sum(torch.cat([x.sum(others, dtype=torch.float64), squares_here, count_here]))
        total, squares, count = sums.split([channels, channels, 1])
        mean = total / count
        variance = (squares / count - mean**2).clamp_min(0)
        inverse = (variance + eps).rsqrt()
        ctx.group = group
        ctx.save_for_backward(x, weight, mean, inverse, count)
        unbiased = variance * count / (count - 1).clamp_min(1)
        ctx.mark_non_differentiable(mean, unbiased)
        y = _standard(x, mean, inverse)
        if weight is not None and bias is not None:
            y = y * _by_channel(weight, x) + _by_channel(bias, x)
        return y.to(x.dtype), mean, unbiased

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *of_statistics: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, count = ctx.saved_tensors
        others, standard = _all_but_channels(x), _standard(x, mean, inverse)
        of_bias = gradient.sum(others, dtype=torch.float64)
        of_weight = (gradient * standard).sum(others, dtype=torch.float64)
        shift, slope = (ctx.group.sum(torch.cat([of_bias, of_weight])) / count).chunk(2)
        left = gradient.float() - _by_channel(shift, x) - standard * _by_channel(slope, x)
        of_x = left * _by_channel(inverse if weight is None else inverse * weight, x)
        if weight is None:
            return of_x.to(x.dtype), None, None, None, None
        return of_x.to(x.dtype), of_weight.to(weight.dtype), of_bias.to(weight.dtype), None, None


def _all_but_channels(x: Tensor) -> list[int]:
    return [axis for axis in range(x.ndim) if axis != 1]


def _by_channel(values: Tensor, x: Tensor) -> Tensor:
    """``float32``, to be multiplied with ``x [B, C, …]``."""
    return values.float().view(1, -1, *[1] * (x.ndim - 2))


def _standard(x: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    """Of mean 0 and variance 1."""
    return (x.float() - _by_channel(mean, x)) * _by_channel(inverse, x)


@contextmanager
def joined(name: str) -> Iterator[tuple[Group, torch.device]]:
    """The group that torchrun has started this process in, by its environment, ``ALONE`` where it has not; and its device, where
    ``name`` is the user's. A process that fails ends the others. Raises ModelError."""
    if "WORLD_SIZE" not in os.environ:
        yield ALONE, pick_device(name)
        return
    missing = [name for name in (*_NAMES, *_PLACE) if not os.environ.get(name)]
    if missing:
        raise ModelError(f"WORLD_SIZE is set without {', '.join(missing)}: start by torchrun, or unset it")
    try:
        group = Group(*(int(os.environ[name]) for name in _NAMES))
        port = int(os.environ["MASTER_PORT"])
    except ValueError as error:
        raise ModelError(f"{', '.join((*_NAMES, 'MASTER_PORT'))} must be numbers, as torchrun sets them ({error})") from None
    if group.size == 1:
        yield group, group.device(name)
        return
    with reachable():
        # The group keeps it, and with it what its first process serves to the others where no launcher does.
        store, *_ = next(rendezvous("env://", timeout=REACHED))
    with failing_together(group.rank, os.environ["MASTER_ADDR"], port) as told:
        device = group.device(name)
        _require_same_type(group, device, told)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        with reachable():
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, store=store, rank=group.rank, world_size=group.size, timeout=PATIENCE)
        group.wait()  # connects them, while none has anything else to do
        yield group, device
        group.wait()  # one that goes while others still send ends them
    dist.destroy_process_group()  # not of one that fails: it would wait for what the others have not sent


def _require_same_type(group: Group, device: torch.device, store: Store) -> None:
    """Raises ModelError where another process has another kind of device: they could not talk."""
    with reachable():
        store.set(f"device of {group.rank}", device.type)
        types = [store.get(f"device of {rank}").decode() for rank in range(group.size)]
    if len(set(types)) > 1:
        found = ", ".join(f"{kind} for process {types.index(kind)}" for kind in sorted(set(types)))
        raise ModelError(f"the processes of a training need devices of one kind, and found {found}: give --device cpu to all")
