"""What every refiner is: (frame, coarse prediction, selected pixels) → depth at those pixels, and fusion with the coarse one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeVar

from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.sparse.pixel_set import PixelSet

Needs = Literal["pixels", "tiles", "frame", "nothing"]
"""What a refiner looks at: the selected pixels alone, the tiles that hold most of them, the whole frame, or nothing."""

Refined = TypeVar("Refined")
LARGEST_CHANGE = 1.5  # |ln(refined / coarse)| that a refiner of tiles or of the whole frame can give


@dataclass(frozen=True, slots=True)
class RefinerInput:
    """A frame of which pixels are selected.

    image: ``uint8 [H, W, 3]``; small: ``float32 [h, w, 3]`` 0…1, its average over each coarse pixel; coarse: the model's answer;
    depth: ``float32 [H, W]``, its upsampled depth; score: ``float32 [h, w]``, the uncertainty on the coarse grid; pixels: the
    selected ones; camera: the frame's intrinsics where they are known; model: the coarse model's name.
    """

    image: Tensor
    small: Tensor
    coarse: CoarsePrediction
    depth: Tensor
    score: Tensor
    pixels: PixelSet
    camera: Camera | None = None
    model: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frame."""
        return self.image.shape[0], self.image.shape[1]


class Fused(NamedTuple):
    """At the K selected pixels, in their order.

    gate: ``float32 [K]``, the weight 0…1 that the coarse value kept, 1 where the refiner did not look; depth: ``float32 [K]`` in
    the unit of the coarse depth; normals: ``float32 [3, K]``, unit vectors of the optical frame that face the camera, 0 where the
    refiner did not look, of one that gives some; entropy: ``float32 [K]``, nats, of the choice between candidate surfaces, of a
    refiner that chooses.
    """

    gate: Tensor
    depth: Tensor
    normals: Tensor | None = None
    entropy: Tensor | None = None


class Refiner(Protocol[Refined]):
    """Corrects the selected pixels; the two steps are separate because they are separate boxes of the method.

    All of them predict ln(refined / coarse), so that to scale the coarse depth scales the answer.
    name: see ``registry.REFINERS``. needs: what it looks at. backend_name: what computes it, and in which type, for people to read.
    """

    name: str
    needs: Needs

    @property
    def backend_name(self) -> str: ...

    def refine(self, given: RefinerInput) -> Refined:
        """What ``fuse`` takes; it lasts until the next call."""
        ...

    def fuse(self, refined: Refined) -> Fused:
        """The answer at the selected pixels."""
        ...
