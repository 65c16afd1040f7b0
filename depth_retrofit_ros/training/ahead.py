"""Samples made ahead of their use, by other processes: to make one takes a processor longer than a GPU takes to learn from it."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from torch.utils.data import DataLoader, Dataset

from depth_retrofit_ros.errors import DepthRetrofitError

KEPT = 2  # finished calls that each process holds
FILES = 1 << 14  # a tensor that another process made is an open file

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class _Calls(Dataset[object], Generic[Made]):
    """What a process does; an error that a user can mend is handed on as it is, not as a traceback of another process."""

    make: Callable[[int], Made]

    def __getitem__(self, index: int) -> Made | DepthRetrofitError:
        try:
            return self.make(index)
        except DepthRetrofitError as error:
            return error


def raise_file_limit() -> None:
    """To ``FILES``, or as far as this process may; a higher one stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Ahead(Generic[Made]):
    """``make(index)``, computed ahead in ``workers`` processes for index after index; asked for another one, they begin there.

    make: a pure function of the index that can be pickled. With one worker it is simply called.
    """

    def __init__(self, make: Callable[[int], Made], workers: int = 1) -> None:
        self.make, self.workers = make, workers
        self._coming: Iterator[Made | DepthRetrofitError] | None = None
        self._next = 0

    def __call__(self, index: int) -> Made:
        """Raises what ``make`` raises."""
        if self.workers <= 1:
            return self.make(index)
        if self._coming is None or index != self._next:
            self._coming, self._next = self._from(index), index
        self._next += 1
        made = next(self._coming)
        if isinstance(made, DepthRetrofitError):
            self._coming = None
            raise made
        return made

    def close(self) -> None:
        """End the processes; a later call begins others."""
        self._coming = None

    def _from(self, index: int) -> Iterator[Made | DepthRetrofitError]:
        raise_file_limit()
        # Spawned: neither a CUDA context nor threads survive a fork.
        loader: DataLoader[object] = DataLoader(
            _Calls(self.make),
            batch_size=None,
            sampler=cast("range", itertools.count(index)),
            num_workers=self.workers,
            prefetch_factor=KEPT,
            multiprocessing_context="spawn",
        )
        return cast(Iterator["Made | DepthRetrofitError"], iter(loader))
