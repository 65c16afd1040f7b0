"""Processes that train one network together, as torchrun starts them: each makes and learns from a share of each step's samples."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

from depth_retrofit_ros.errors import ModelError

PATIENCE = timedelta(hours=6)  # of a process that waits for one that renders or validates
_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


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
        """Which of a step's ``count`` samples this process makes: over all processes each exactly once."""
        return range(self.rank, count, self.size)

    def device(self, device: torch.device) -> torch.device:
        """``device`` for this process: of several on a machine each has a GPU of its own. Raises ModelError."""
        if device.type != "cuda" or self.local_size == 1:
            return device
        if device.index is not None:
            raise ModelError(
                f"--device {device} is one GPU for {self.local_size} processes: give cuda, of which each takes its own"
            )
        if self.local_rank >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise ModelError(f"{self.local_size} processes on {count} GPUs: give torchrun --nproc-per-node as many as there are")
        return torch.device("cuda", self.local_rank)

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            dist.barrier()

    def same(self, network: nn.Module) -> None:
        """Give ``network`` the weights that it has in the process that leads."""
        if self.size > 1:
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, 0)

    def of_leader(self, value: float, device: torch.device) -> float:
        """What the process that leads has given here."""
        if self.size == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=device)
        dist.broadcast(told, 0)
        return float(told)

    def agree(self, value: float, device: torch.device) -> bool:
        """Whether all have given the same."""
        if self.size == 1:
            return True
        ends = torch.tensor([value, -value], dtype=torch.float64, device=device)
        dist.all_reduce(ends, dist.ReduceOp.MAX)
        return bool(ends[0] == -ends[1])

    def mean_gradients(self, network: nn.Module, count: int) -> None:
        """Make of gradients that are sums over ``count`` samples here, 0 or more, the mean over all samples of the step, in place
        and by one message; likewise the statistics that the network gathers, which are as ``count`` samples left them."""
        parameters = [p for p in network.parameters() if p.requires_grad]
        if self.size == 1:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad /= count
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in parameters if p.grad is not None]
        statistics = [b for b in network.buffers() if b.dtype.is_floating_point]
        device = gradients[0].device
        parts = [*gradients, *(b * count for b in statistics), torch.tensor([float(count)], device=device)]
        flat = torch.cat([part.detach().float().flatten() for part in parts])
        dist.all_reduce(flat)
        means = (flat[:-1] / flat[-1]).split([part.numel() for part in parts[:-1]])
        with torch.no_grad():
            for target, mean in zip([*gradients, *statistics], means, strict=True):
                target.copy_(mean.view_as(target))

    def mean_losses(self, sums: Mapping[str, tuple[float, int]]) -> dict[str, float]:
        """Of each name's sum over how many samples, here and in the other processes: the mean over all."""
        told: list[Mapping[str, tuple[float, int]]] = [sums]
        if self.size > 1:
            gathered: list[Mapping[str, tuple[float, int]] | None] = [None] * self.size
            dist.all_gather_object(gathered, dict(sums))
            told = [part for part in gathered if part is not None]
        names = dict.fromkeys(name for part in told for name in part)
        totals = {name: [part[name] for part in told if name in part] for name in names}
        return {name: sum(value for value, _ in of) / max(1, sum(count for _, count in of)) for name, of in totals.items()}


ALONE = Group()


@contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """The group that torchrun has started this process in, by its environment; ``ALONE`` where it has not. Raises ModelError."""
    if "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    missing = [name for name in (*_NAMES, "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise ModelError(f"WORLD_SIZE is set without {', '.join(missing)}: start by torchrun, or unset it")
    try:
        group = Group(*(int(os.environ[name]) for name in _NAMES))
    except ValueError as error:
        raise ModelError(f"{', '.join(_NAMES)} must be numbers, as torchrun sets them ({error})") from None
    if group.size == 1:
        yield group
        return
    own = group.device(device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield group
        group.wait()  # one that goes while others still send ends them
    finally:
        dist.destroy_process_group()
