"""Training of the paper's refiner: the crops and coarse answers of the sparse one, seen as the preset sees them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.stored import NAME as STORED
from depth_retrofit_ros.refinement.paper.network import PaperNet
from depth_retrofit_ros.refinement.paper.refiner import at_pixels
from depth_retrofit_ros.refinement.pixels.features import normalized
from depth_retrofit_ros.selection.threshold import Thresholds, above, calibrated, most_pixels
from depth_retrofit_ros.selection.uncertainty import entropy_share
from depth_retrofit_ros.sparse.backends.registry import SparseBackend
from depth_retrofit_ros.sparse.pixel_batch import stack_masks
from depth_retrofit_ros.training.coarse_views import CoarseView, model_view, simulated_view
from depth_retrofit_ros.training.crops import FEWEST_ACTIVE, surface_target
from depth_retrofit_ros.training.draws import Draws, random_budget, remembered
from depth_retrofit_ros.training.loop import At, Loop, LoopSpec
from depth_retrofit_ros.training.losses import Losses, Term, mean_of, silog_loss, two_hot_cross_entropy
from depth_retrofit_ros.training.validation import VALIDATION_SEED, validated
from depth_retrofit_ros.upsampling.interpolation import nearest

MAX_ACTIVE = 20_000  # per crop: bounds the time of a step
LARGEST_SCENE = 5.0  # of |ln(true depth / median)|, beyond which a target says nothing
BINS_WEIGHT = 0.1  # of the cross entropy that makes the bins a distribution over depths
SIMULATED_ANSWERS = 4  # of each scene of the calibration
SAYS_NOTHING = 1e-3  # spread of the entropy of features that are the same everywhere, but for their rounding
VALIDATION_BATCHES, VALIDATION_BATCH = 12, 4


@dataclass(frozen=True, slots=True)
class PaperSample:
    """One crop's active pixels. mask ``bool [S, S]``; of K pixels: rgb ``[K, 3]`` normalized; coarse, target ``[K]``: ln of the
    nearest coarse depth and of the aligned truth over the frame's median coarse depth; entropy ``[K]``: see ``entropy_share``."""

    mask: Tensor
    rgb: Tensor
    coarse: Tensor
    entropy: Tensor
    target: Tensor


class PaperCrops(Draws[PaperSample]):
    """Crops with enough active pixels. thresholds: of the models, by name; see ``calibrate``."""

    thresholds: Mapping[str, Thresholds]

    def make(self, rng: np.random.Generator, data: Mapping[str, np.ndarray], view: CoarseView) -> PaperSample | None:
        """See ``Draws``."""
        index, budget, flip = int(rng.integers(len(data["at"]))), random_budget(rng), rng.random() < 0.5
        sample = make_sample(data, index, view, budget, self.thresholds.get(view.model))
        if sample.target.numel() <= FEWEST_ACTIVE:
            return None
        return self.mirrored(sample) if flip else sample

    def mirrored(self, sample: PaperSample) -> PaperSample:
        """See ``Draws``."""
        place = torch.full(sample.mask.shape, -1, dtype=torch.int64)
        place[sample.mask] = torch.arange(sample.target.numel())
        mask = sample.mask.flip(1)
        order = place.flip(1)[mask]
        return PaperSample(mask, *(part[order] for part in (sample.rgb, sample.coarse, sample.entropy, sample.target)))


def make_sample(
    data: Mapping[str, np.ndarray], index: int, view: CoarseView, budget: float, thresholds: Thresholds | None
) -> PaperSample:
    """The active pixels of one crop: those of them that the preset selects in the frame, at most ``MAX_ACTIVE``.

    thresholds: of the view's model; None of a simulated one, for whose one frame they are made.
    """
    (width, height), (x0, y0), side = (int(v) for v in data["frame"]), (int(v) for v in data["at"][index]), data["crops"].shape[1]
    size = (height, width)
    entropy = entropy_of(view)
    alpha = (thresholds or calibrated([entropy])).at(budget)
    cells, _ = above(entropy, alpha, size, most_pixels(budget, size))
    mask = nearest(cells, size)[y0 : y0 + side, x0 : x0 + side]
    mask = mask & (mask.sum(1).cumsum(0) <= MAX_ACTIVE)[:, None]  # of too many, the upper rows, as in ``crops.make_crop``
    rows, columns = mask.nonzero(as_tuple=True)
    active = (rows + y0) * width + columns + x0
    middle = view.depth.log().nanmedian()
    truth = torch.from_numpy(data["crop_depth"][index])[mask]
    return PaperSample(
        mask,
        normalized(torch.from_numpy(data["crops"][index])[mask]),
        at_pixels(view.depth.log() - middle, active, size),
        at_pixels(entropy, active, size),
        (surface_target(truth, active, size, view) - middle).clamp(-LARGEST_SCENE, LARGEST_SCENE),
    )


def entropy_of(view: CoarseView) -> Tensor:
    """``AboveThreshold.score`` of a coarse view."""
    return entropy_share(view.features, (view.depth.shape[0], view.depth.shape[1]))


def shared_thresholds(models: Sequence[CoarseModel], scenes: Sequence[Path], spec: LoopSpec) -> dict[str, Thresholds]:
    """``calibrate`` of the process that leads, in all: what another one computes may round to another threshold."""
    told = {name: of.alphas for name, of in calibrate(models, scenes).items()} if spec.group.leads else {}
    content = spec.group.content_of_leader(json.dumps(told).encode(), spec.device)
    return {name: Thresholds(tuple(alphas)) for name, alphas in json.loads(content).items()}


def calibrate(models: Sequence[CoarseModel], scenes: Sequence[Path]) -> dict[str, Thresholds]:
    """Of each model, by name, on the scenes' views; and of stored maps of models that are not known, for which simulated answers
    stand."""
    rng = np.random.default_rng(VALIDATION_SEED)
    entropies: dict[str, list[Tensor]] = {}
    for path in scenes:
        with np.load(path) as file:
            data = dict(file)
        for model in models:
            entropies.setdefault(model.name, []).append(entropy_of(model_view(model, data)))
        for _ in range(SIMULATED_ANSWERS):
            entropy = entropy_of(simulated_view(rng, data))
            if float(entropy.max() - entropy.min()) > SAYS_NOTHING:  # else no threshold divides it
                entropies.setdefault(STORED, []).append(entropy)
    return {name: calibrated(maps) for name, maps in entropies.items()}


def paper_losses(network: PaperNet, samples: Sequence[PaperSample], backend: SparseBackend) -> Losses:
    """Scale-invariant loss of each crop (SILog) of the value and of the blend, and cross entropy of the value's bins. ``error``,
    ``refined`` and ``coarse``, for comparison: L1 of ln depth of the blend, of the value alone, of the coarse depth.

    backend: of the network's convolutions, one with gradients."""
    device = network.centers.device
    batch = stack_masks(torch.stack([s.mask for s in samples]).to(device), network.levels)
    parts = ([getattr(s, name) for s in samples] for name in ("rgb", "coarse", "entropy", "target"))
    rgb, coarse, entropy, target = (torch.cat(part).to(device) for part in parts)
    if torch.is_autocast_enabled(device.type):  # sparse convolutions compute in the type of what they are given
        rgb = rgb.to(torch.get_autocast_dtype(device.type))
    value = network(rgb, backend.build_pyramid(batch.pixels, network.levels))
    gate, level = network.gate(coarse, value.level, entropy, value.entropy)
    counts = [s.target.numel() for s in samples]
    of_value, of_blend = (scale_invariant(answer, target, counts) for answer in (value.level, level))
    all_pixels = torch.ones(1, 1, target.numel(), dtype=torch.bool, device=device)
    bins = two_hot_cross_entropy(value.logits.T[None, :, None], target[None, None], network.centers, all_pixels)
    with torch.no_grad():
        answers = {"error": level, "refined": value.level, "coarse": coarse}
        told = {name: mean_of((answer - target).abs()) for name, answer in answers.items()} | {"gate": mean_of(gate)}
    return Losses({"value": of_value, "blend": of_blend, "bins": bins, **told}, {"value": 1.0, "blend": 1.0, "bins": BINS_WEIGHT})


def scale_invariant(log_pred: Tensor, log_true: Tensor, counts: Sequence[int]) -> Term:
    """Mean ``silog_loss`` of several crops' pixels, one after the other, without its usual factor 10."""
    crops = zip(log_pred.split(list(counts)), log_true.split(list(counts)), strict=True)
    return mean_of(torch.stack([silog_loss(p, t, torch.ones_like(t, dtype=torch.bool)).alone() / 10 for p, t in crops]))


def validate(network: nn.Module, crops: Callable[[int], Sequence[PaperSample]], backend: SparseBackend) -> dict[str, float]:
    """Mean losses over held-out crops, the same each time, and the share of the coarse error that is left."""
    assert isinstance(network, PaperNet)
    return validated(lambda index: paper_losses(network, crops(index), backend), VALIDATION_BATCHES)


def train_paper(
    train: Sequence[Path],
    held_out: Sequence[Path],
    models: Sequence[CoarseModel],
    spec: LoopSpec,
    network: PaperNet,
    thresholds: Mapping[str, Thresholds],
    backend: SparseBackend,
) -> tuple[Loop, dict[str, float]]:
    """The finished loop and its validation figures. thresholds: at least of the models, by name."""
    crops = PaperCrops(
        train, models, spec.batch, spec.seed, echoed=True, workers=spec.workers, places=spec.group.places(spec.batch)
    )
    held = PaperCrops(held_out, models, VALIDATION_BATCH, VALIDATION_SEED, simulated=0.5, workers=spec.workers)
    crops.thresholds = held.thresholds = thresholds
    fixed = remembered(held, VALIDATION_BATCHES)

    def learn(net: nn.Module, samples: Sequence[PaperSample], at: At) -> Losses:
        assert isinstance(net, PaperNet)
        with spec.autocast():
            return paper_losses(net, samples, backend)

    loop = Loop(network.to(spec.device), spec)
    return loop, loop.run(lambda step, progress: crops(step), learn, lambda net: validate(net, fixed, backend), every=250)
