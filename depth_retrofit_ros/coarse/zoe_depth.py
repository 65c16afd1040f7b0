"""ZoeDepth (arXiv 2302.12288): BEiT with a DPT head, and a distribution over adaptive depths for each pixel.

One head of indoor scenes, one of streets, or both behind a router that looks at the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.networks.resizing import corner_aligned
from depth_retrofit_ros.coarse.transformers_loading import NEVER_RUN, load_network
from depth_retrofit_ros.coarse.transformers_model import CENTERED, LEAST_SHARE, DepthNetwork, TransformersModel
from depth_retrofit_ros.errors import WeightsError

MARGIN = 32  # px on each side that mirror the image, as its authors do: the network is wrong along the borders of what it sees


class _Head(NamedTuple):
    """One scene's parts of the metric head. low, high: the range of its depths [m]."""

    seed: nn.Module
    attractors: nn.ModuleList
    distribution: nn.Module
    low: float
    high: float


class ZoeDepthNetwork(DepthNetwork):
    """net: a ``ZoeDepthForDepthEstimation``. Answer and features have the size of the input, whose sides are multiples of 32.

    Of two heads both are computed and one is taken, so that nothing waits for the router, and the network is one graph.
    """

    net: Any
    normalization = CENTERED

    def exact(self) -> Iterator[nn.Module]:
        """See ``DepthNetwork``."""
        yield self.net.metric_head

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """See ``DepthNetwork``. answer: the mean depth [m]; features: the logarithm of the distribution."""
        net, patch = self.net, self.net.patch_size
        above, beside = (min(MARGIN, side // 32 * 16) for side in planes.shape[2:])
        padded = F.pad(planes, (beside, beside, above, above), mode="reflect")
        maps = net.backbone(padded).feature_maps
        fused, bottleneck = net.neck(maps, padded.shape[2] // patch, padded.shape[3] // patch)
        relative, activation = net.relative_head(fused)
        depth, shares = self._metric(activation.float(), bottleneck.float(), [x.float() for x in fused], relative[:, None].float())
        inside = (..., slice(above, above + planes.shape[2]), slice(beside, beside + planes.shape[3]))
        return depth[inside], shares[inside].clamp_min(LEAST_SHARE).log()

    def _metric(self, activation: Tensor, bottleneck: Tensor, fused: list[Tensor], relative: Tensor) -> tuple[Tensor, Tensor]:
        """Mean depth ``[1, h, w]`` and distribution ``[1, bins, h, w]``, of the relative head's last features."""
        head = self.net.metric_head
        x = head.conv2(bottleneck)
        embeddings = [head.seed_projector(x), *(project(block) for project, block in zip(head.projectors, fused, strict=True))]
        size = (activation.shape[2], activation.shape[3])
        embedded = corner_aligned(embeddings[-1], size)
        if len(self._heads()) == 1:  # the single head alone sees relative depth, too
            activation = torch.cat([activation, corner_aligned(relative, size)], dim=1)
        answers = []
        for seed, attractors, distribution, low, high in self._heads():
            _, centers = seed(x)
            bins = (centers - low) / (high - low) if head.bin_centers_type == "normed" else centers
            for attract, before, embedding in zip(attractors, embeddings[:-1], embeddings[1:], strict=True):
                bins, centers = attract(embedding, bins, before, interpolate=True)
            shares = distribution(activation, embedded)
            answers.append(((shares * corner_aligned(centers, size)).sum(1), shares))
        if len(answers) == 1:
            return answers[0]
        scene = head.mlp_classifier(head.patch_transformer(x)[:, 0]).argmax(-1)[:, None, None]
        (depth, shares), (other_depth, other_shares) = answers
        return torch.where(scene == 0, depth, other_depth), torch.where(scene[..., None] == 0, shares, other_shares)

    def _heads(self) -> list[_Head]:
        head, scenes = self.net.metric_head, self.net.config.bin_configurations
        if len(scenes) == 1:
            return [_Head(head.seed_bin_regressor, head.attractors, head.conditional_log_binomial, head.min_depth, head.max_depth)]
        return [
            _Head(
                head.seed_bin_regressors[scene["name"]],
                head.attractors[scene["name"]],
                head.conditional_log_binomial[scene["name"]],
                scene["min_depth"],
                scene["max_depth"],
            )
            for scene in scenes
        ]


def load(
    weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize, name: str, max_depths: tuple[float, ...]
) -> TransformersModel:
    """See ``depth_anything.load``. max_depths: the largest depth [m] of each head: one head, or two behind the router.

    A single head's word on it is not taken from the configuration: that of the published KITTI model has the 10 m of NYU, which
    divides its depths by eight.
    """
    net = load_network(weights, name, "ZoeDepthForDepthEstimation", optional=(NEVER_RUN,))
    found = len(net.config.bin_configurations)
    if found != len(max_depths):
        raise WeightsError(
            f"checkpoint {weights} has {found} metric heads but '{name}' has {len(max_depths)}: give it to the other model"
        )
    if found == 1:
        for module in net.metric_head.modules():
            if hasattr(module, "max_depth"):
                module.max_depth = max_depths[0]
    return TransformersModel(ZoeDepthNetwork(net), name, claim, device, size)
