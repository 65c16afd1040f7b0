"""Which size a frame is brought to for a coarse model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from depth_retrofit_ros.errors import ModelError

Rule = Literal["long side", "long side and area", "short side", "area", "exact"]
LARGEST = 4096  # px of a side
DEFAULT, NATIVE = "default", "native"
SIZE_WORDS = f"a number of pixels, '{NATIVE}' or '{DEFAULT}'"


@dataclass(frozen=True, slots=True)
class InputSize:
    """The frame's aspect is kept, and both sides are rounded to multiples of ``multiple`` px; but for the rule ``exact``.

    rule, pixels: the ``long side`` or the ``short side`` has that many pixels, (p,); or the square of p px has the ``area``; or,
    with (p, q), both ``long side and area`` are at least those of p and of q px, so that a wide frame is no narrow strip; or the
    input is exactly (h, w), to which the frame is stretched.
    """

    rule: Rule
    pixels: tuple[int, ...]
    multiple: int = 1

    def of(self, height: int, width: int) -> tuple[int, int]:
        """The input's size (h, w) for a frame ``height x width``, at least one multiple a side."""
        if self.rule == "exact":
            return self.pixels[0], self.pixels[1]
        long, short = max(height, width), min(height, width)
        # The area is kept where the short side would be less than a multiple, to which it is then rounded up.
        square = max((height * width) ** 0.5, long * self.multiple / self.pixels[-1])
        sides = {"long side": (long,), "long side and area": (long, square), "short side": (short,), "area": (square,)}[self.rule]
        scale = max(pixels / side for pixels, side in zip(self.pixels, sides, strict=True)) / self.multiple
        return max(1, round(height * scale)) * self.multiple, max(1, round(width * scale)) * self.multiple

    def __str__(self) -> str:
        if self.rule == "exact":
            return f"{self.pixels[1]}x{self.pixels[0]}"
        area = f"area of {self.pixels[-1]}x{self.pixels[-1]}"
        if self.rule == "long side and area":
            return f"long side {self.pixels[0]} and {area}"
        return area if self.rule == "area" else f"{self.rule} {self.pixels[0]}"


def long_side(pixels: int, multiple: int) -> InputSize:
    """The frame's aspect, with that long side [px]."""
    return InputSize("long side", (pixels,), multiple)


def short_side(pixels: int, multiple: int) -> InputSize:
    """The frame's aspect, with that short side [px]."""
    return InputSize("short side", (pixels,), multiple)


def size_of(model: object) -> InputSize | None:
    """The input size in use, of a coarse model that says it."""
    size = getattr(model, "size", None)
    return size if isinstance(size, InputSize) else None


def chosen_size(model: str, usual: InputSize, native: InputSize, asked: int | str | None) -> InputSize:
    """The size that the user asks for: None or ``default`` for the ``usual`` one, ``native``, or the long side [px], in digits too.

    usual: what suits a live node; native: the rule of the model's authors. Raises ModelError.
    """
    if asked is None or asked == DEFAULT:
        return usual
    if asked == NATIVE:
        return native
    if isinstance(asked, str):
        if not asked.removeprefix("-").isdecimal():
            raise ModelError(f"a coarse size is {SIZE_WORDS}, not '{asked}'")
        asked = int(asked)
    if usual.rule == "exact":
        raise ModelError(f"{model} takes {usual} only: leave its size out")
    if not usual.multiple <= asked <= LARGEST:
        raise ModelError(
            f"a coarse size of {asked} px is outside {usual.multiple}…{LARGEST}: it is the long side of {model}'s input"
        )
    return long_side(asked, usual.multiple)
