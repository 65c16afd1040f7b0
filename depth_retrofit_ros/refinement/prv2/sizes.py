"""Sizes of PatchRefiner V2: a small one for CPUs, and the three of the paper (arXiv 2501.01121, table 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from depth_retrofit_ros.refinement.prv2.fusion_net import FusionWidths
from depth_retrofit_ros.refinement.tiles.surfaces import COUNT


@dataclass(frozen=True, slots=True)
class Prv2Size:
    """widths: of the fusion; encoder: its name in timm, empty for ``SmallEncoder``; side, overlap, together: see ``TileNetwork``;
    samples: of the coarse maps along a tile, about one for each of their pixels; published: parameters [M] of the paper's; a size
    with more answers than one chooses between surfaces, see ``tiles.surfaces``."""

    widths: FusionWidths
    encoder: str = ""
    side: int = 384
    overlap: int = 48
    together: int = 4
    samples: int = 96
    published: float | None = None


def _of_paper(encoder: str, fine: tuple[int, ...], published: float) -> Prv2Size:
    """With the coarse maps of a DPT head: 256 channels, and 32 of the finest one."""
    widths = FusionWidths(fine, (32, *(256,) * 5), 256, (32, 64, 64, 128, 256, 512), (512, 256, 128, 64, 32))
    return Prv2Size(widths, encoder, published=published)


PATH = 24
SMALL = FusionWidths(
    fine=(16, 24, 32, 48, 96),
    coarse=(PATH,) * 6,
    path=PATH,
    joint=(12, 12, 16, 24, 32, 48),
    decoder=(48, 32, 24, 16, 12),
    answers=1 + COUNT,
)
SIZES: Mapping[str, Prv2Size] = {
    "small": Prv2Size(SMALL, side=128, overlap=16, together=8, samples=32),
    "v2-m": _of_paper("mobilenetv4_conv_small.e2400_r224_in1k", (32, 32, 64, 96, 960), 47.0),
    "v2-e": _of_paper("tf_efficientnet_b5.ap_in1k", (24, 40, 64, 176, 512), 72.1),
    "v2-c": _of_paper("convnext_large", (96, 192, 384, 768, 1536), 245.8),
}
