"""What the first output of each family's network is, in words, and how depth follows from it: for who reads an exported file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from depth_retrofit_ros.coarse.engines.assign import family_of
from depth_retrofit_ros.coarse.info import ModelInfo

_OURS = "depth_retrofit_ros.coarse."


@dataclass(frozen=True, slots=True)
class Answer:
    """depth: what the output of this name is.

    to_depth: an expression, empty where it is not known, of the outputs and of fx, fy: the frame's focal lengths [px], W, H: its
    size, w, h: that of ``image_planes``; with exp, mean, and what ``depth`` says. scale: what the depth is then.
    """

    depth: str
    to_depth: str
    scale: str


def answer_of(info: ModelInfo, model: Any, frame_size: tuple[int, int]) -> Answer:
    """Of a model for frames of ``frame_size = (H, W)``; of a family that nobody declared, no word on what its answer is."""
    if not info.loader.startswith(_OURS) or (declared := ANSWERS.get(family_of(info))) is None:
        told = f"what the network of {info.name} answers first; its authors say how depth follows from that"
        return Answer(told, "", f"of the depth that the model makes of it: {model.claim}")
    return declared(info, model, frame_size)


def _compact(info: ModelInfo, model: Any, frame_size: tuple[int, int]) -> Answer:
    from depth_retrofit_ros.coarse.compact_net import CANONICAL_F_PX

    f = f"{CANONICAL_F_PX:g}"
    return _answer(model, f"ln of depth for a focal length of {f} px at the size of the input", f"exp(depth) * fx * w / W / {f}")


def _meter(info: ModelInfo, model: Any, frame_size: tuple[int, int]) -> Answer:
    from depth_retrofit_ros.coarse.meter import VARIANTS

    unit_m = VARIANTS[str(info.options["variant"])].unit_m
    return _answer(model, f"depth in units of {unit_m:g} m", f"depth * {unit_m:g}")


def _as_it_is(info: ModelInfo, model: Any, frame_size: tuple[int, int]) -> Answer:
    """Depth, or disparity, as the claim says."""
    from depth_retrofit_ros.coarse.disparity import FAR_SHARE

    if model.claim.inverse:
        return _answer(
            model, "disparity of unknown scale and shift, 0 at the farthest", f"1 / (depth + {FAR_SHARE:g} * mean(depth))"
        )
    return _answer(model, "depth", "depth")


def _prompt(info: ModelInfo, model: Any, frame_size: tuple[int, int]) -> Answer:
    scale = "relative, up to an unknown scale: the file has no input for the sparse depth that would make it metric"
    return Answer("depth up to an unknown scale, in 0 to 1", "depth", scale)


def _depth_anything3(info: ModelInfo, model: Any, frame_size: tuple[int, int]) -> Answer:
    from depth_retrofit_ros.coarse.depth_anything3 import CANONICAL_F_PX, SKY

    beside = f"output_2 is the sky's score, sky from {SKY:g} on" if model.knows_sky else "output_2 is its confidence, above 1"
    if model.claim.kind != "metric":
        return _answer(model, f"depth; {beside}", "depth")
    f = f"{CANONICAL_F_PX:g}"
    told = f"depth for a focal length of {f} px at the size of the input; {beside}"
    return _answer(model, told, f"depth * (fx * w / W + fy * h / H) / 2 / {f}")


def _depth_pro(info: ModelInfo, model: Any, frame_size: tuple[int, int]) -> Answer:
    told = (
        "inverse depth for a focal length that is the width of the image; output_2 is what the model estimates a field of view of "
        "where none is known, which is not in this file"
    )
    return _answer(model, told, "1 / (depth * W / fx)")


def _metric3d(info: ModelInfo, model: Any, frame_size: tuple[int, int]) -> Answer:
    from depth_retrofit_ros.coarse.networks.metric3d import CANONICAL_F_PX

    top, left, rows, columns = model.fitted(*frame_size)
    where = f"[:, {top}:{top + rows}, {left}:{left + columns}]"
    told = (
        f"depth for a focal length of {CANONICAL_F_PX:g} px at the size of the input; image_planes has the frame, at "
        f"{columns}x{rows}, in its rows {top} to {top + rows} and columns {left} to {left + columns}, and 0 around it, and so has "
        "this; output_2 are normals"
    )
    return _answer(model, told, f"depth{where} * fx * {columns} / W / {CANONICAL_F_PX:g}")


def _moge(info: ModelInfo, model: Any, frame_size: tuple[int, int]) -> Answer:
    told = (
        "ln of z before its shift and its scale; input_1 is W / H of the frame; output_2 are x / z, y / z and ln z of each point, "
        "output_3 normals, output_4 above 0 where a point is not sky, output_5 ln of metres a unit. shift: what to add to z, "
        "with f = 2 * fx / sqrt(W * W + H * H), so that f * (x, y) / (z + shift) is nearest, in least squares where output_4 is "
        "above 0, to the cells' places in half diagonals of the image from its center"
    )
    return _answer(model, told, "(exp(depth) + shift) * exp(output_5)")


def _answer(model: Any, depth: str, to_depth: str) -> Answer:
    return Answer(depth, to_depth, str(model.claim))


ANSWERS: dict[str, Callable[[ModelInfo, Any, tuple[int, int]], Answer]] = {
    "compact": _compact,
    "meter": _meter,
    "depth_anything": _as_it_is,
    "depth_anything3": _depth_anything3,
    "depth_pro": _depth_pro,
    "dpt": _as_it_is,
    "glpn": _as_it_is,
    "metric3d": _metric3d,
    "moge": _moge,
    "prompt_depth_anything": _prompt,
    "tips": _as_it_is,
    "zoe_depth": _as_it_is,
}
"""By family; each is tested against what the model makes of its network's answer."""
