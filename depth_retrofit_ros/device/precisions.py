"""The types that networks compute in, by the names that options, parameters and torch have for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line's parser is built without torch
    import torch

PRECISIONS = ("float32", "bfloat16", "float16")


def type_named(name: str) -> torch.dtype:
    """Of one of ``PRECISIONS``."""
    import torch

    dtype: torch.dtype = getattr(torch, name)
    return dtype


def name_of(dtype: torch.dtype) -> str:
    """As in ``PRECISIONS``."""
    return str(dtype).removeprefix("torch.")
