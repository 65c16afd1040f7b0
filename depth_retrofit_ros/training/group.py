"""Processes that train one network together, as torchrun starts them: each makes and learns from a share of each step's samples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
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
        others = [axis for axis in range(x.ndim) if axis != 1]
        count = x.new_tensor([x.numel() / x.shape[1]], dtype=torch.float64)
        here = torch.cat([x.sum(others, dtype=torch.float64), x.double().square().sum(others), count])
        total, squares, number = _SumOverProcesses.apply(here, self.group).split([self.num_features, self.num_features, 1])
        mean = total / number
        variance = (squares / number - mean**2).clamp_min(0)
        self._follow(mean.detach(), (variance * number / (number - 1).clamp_min(1)).detach())
        shape = [1, -1, *[1] * (x.ndim - 2)]
        scale = (variance + self.eps).rsqrt().float()
        scale, shift = (scale, None) if self.weight is None else (scale * self.weight, self.bias)
        y = (x.float() - mean.float().view(shape)) * scale.view(shape)
        return (y if shift is None else y + shift.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)


class _SumOverProcesses(torch.autograd.Function):
    """What each process gives, added up; each then learns what all others lose by what it gave."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor, group: Group) -> Tensor:
        ctx.group = group  # type: ignore[attr-defined]
        return group.sum(values)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.group.sum(gradient), None  # type: ignore[attr-defined]


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
