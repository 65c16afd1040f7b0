"""What was used last, within a limit of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Keeps values by their keys; beyond ``limit`` bytes those go that were not asked for the longest, but never the last one."""

    def __init__(self, limit: int, size: Callable[[T], int]) -> None:
        self.limit, self.size = limit, size
        self._values: OrderedDict[str, T] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """How many values are kept."""
        return len(self._values)

    def get(self, key: str, make: Callable[[], T]) -> T:
        """The value of a key, made where it is not kept."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = self._values[key] = make()
        self._bytes += self.size(value)
        while self._bytes > self.limit and len(self._values) > 1:
            self._bytes -= self.size(self._values.popitem(last=False)[1])
        return value
