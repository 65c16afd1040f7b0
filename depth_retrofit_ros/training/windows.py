"""Training windows of the refiners that see every pixel: squares of frames at their own resolution, as tiles show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction
from depth_retrofit_ros.coarse.engines.natural_image import natural_image
from depth_retrofit_ros.pointcloud.exact_normals import exact_normals
from depth_retrofit_ros.refinement.pixels.features import normalized
from depth_retrofit_ros.refinement.tiles.layout import cut
from depth_retrofit_ros.refinement.tiles.refiner import TileNetwork, Tiles
from depth_retrofit_ros.training.coarse_views import CoarseView
from depth_retrofit_ros.training.crops import averaged, crop_guides, crop_score, selected_in, surface_target
from depth_retrofit_ros.training.draws import SIMULATED, Draws, random_budget
from depth_retrofit_ros.upsampling.edge_aware import guided_depth
from depth_retrofit_ros.upsampling.interpolation import sample_at

UNCALIBRATED = 0.15  # share of the windows whose camera the network is not told
LEAST_SELECTED = 0.05  # share of a window's pixels: one with fewer is seldom among the tiles that a refiner looks at


@dataclass(frozen=True, slots=True)
class Window:
    """image ``uint8 [h, w, 3]``; depth ``float32 [h, w]``, the upsampled coarse depth; selected ``bool [h, w]``; target ``[h, w]``:
    ln of what is to be answered, in the coarse map's scale (see ``crops.surface_target``); truth ``[h, w]`` m, inf in the sky;
    origin: (y, x) of its first pixel in the frame of ``size`` (H, W); score ``[h', w']``, small ``[h', w', 3]``: the uncertainty on
    the coarse grid, and the frame averaged to it, 0…1; camera: the frame's, whose principal point is its middle; normals ``float32
    [3, h, w]``: the true ones, NaN at depth edges and in the sky, or None where nobody asks for them; calibrated: whether the
    network is told the camera.
    """

    image: torch.Tensor
    depth: torch.Tensor
    selected: torch.Tensor
    target: torch.Tensor
    truth: torch.Tensor
    origin: tuple[int, int]
    size: tuple[int, int]
    score: torch.Tensor
    small: torch.Tensor
    view: CoarseView
    camera: Camera
    normals: torch.Tensor | None = None
    calibrated: bool = True

    def to(self, device: torch.device) -> Window:
        """The same in the memory of another device."""
        there = {
            name: getattr(self, name).to(device) for name in ("image", "depth", "selected", "target", "truth", "score", "small")
        }
        maps = {name: getattr(self.view, name).to(device) for name in ("depth", "doubt", "truth", "features")}
        normals = None if self.normals is None else self.normals.to(device)
        return replace(self, view=replace(self.view, **maps), normals=normals, **there)

    def level(self) -> torch.Tensor:
        """ln depth about the frame's median, as ``Tiles.level`` has it."""
        return self.depth.log() - self.view.depth.log().nanmedian()

    def change(self) -> torch.Tensor:
        """What a refiner is to add to ln depth."""
        return self.target - self.depth.log()

    def tiles(self, network: TileNetwork, origins: torch.Tensor) -> Tiles:
        """Tiles that begin at ``origins`` ``int64 [T, 2]`` (y, x) of the window, as the network sees them at run time."""
        side, origins = network.side, origins.to(self.image.device)
        frame_origin = torch.tensor(self.origin, device=origins.device)
        colors = normalized(cut(self.image, origins, side)).permute(0, 3, 1, 2)
        prediction = CoarsePrediction(self.view.depth, self.view.features)
        maps = network.project(prediction, self.small, self.score, self.view.model, self.camera if self.calibrated else None)
        return Tiles(colors, cut(self.level(), origins, side)[:, None], maps, origins + frame_origin, self.size)


class Windows(Draws[Window]):
    """Random windows of one of the ``shapes`` (h, w), among the places of a crop rather where much is selected. normals: whether
    with the true ones."""

    def __init__(
        self,
        shapes: Sequence[tuple[int, int]],
        files: Sequence[Path],
        models: Sequence[CoarseModel],
        batch: int,
        seed: int,
        simulated: float = SIMULATED,
        echoed: bool = False,
        workers: int = 1,
        normals: bool = False,
        places: Sequence[int] | None = None,
    ) -> None:
        super().__init__(files, models, batch, seed, simulated, echoed, workers, places)
        self.shapes, self.normals = list(shapes), normals

    def make(self, rng: np.random.Generator, data: Mapping[str, np.ndarray], view: CoarseView) -> Window | None:
        """See ``Draws``."""
        index = int(rng.integers(len(data["at"])))
        score = crop_score(data, index, view)
        selected = selected_in(data, index, score, random_budget(rng))
        height, width = self.shapes[rng.integers(len(self.shapes))]
        place = _place(rng, selected, height, width)
        if place is None:
            return None
        window = cut_window(data, index, view, score, selected, (*place, height, width))
        if self.normals:
            window = with_normals(window)
        window = replace(window, calibrated=bool(rng.random() >= UNCALIBRATED))
        return self.mirrored(window) if rng.random() < 0.5 else window

    def mirrored(self, sample: Window) -> Window:
        """See ``Draws``."""
        flipped = {name: getattr(sample, name).flip(-1) for name in ("depth", "selected", "target", "truth", "score")}
        maps = {name: getattr(sample.view, name).flip(-1) for name in ("depth", "doubt", "truth", "features")}
        (y, x), width = sample.origin, sample.image.shape[1]
        origin = y, sample.size[1] - x - width
        normals = None if sample.normals is None else sample.normals.flip(-1) * sample.normals.new_tensor([-1, 1, 1]).view(3, 1, 1)
        view, image, small = replace(sample.view, **maps), sample.image.flip(1), sample.small.flip(1)
        return replace(sample, image=image, small=small, origin=origin, view=view, normals=normals, **flipped)


def cut_window(
    data: Mapping[str, np.ndarray],
    index: int,
    view: CoarseView,
    score: torch.Tensor,
    selected: torch.Tensor,
    place: tuple[int, int, int, int],
) -> Window:
    """The window at ``place`` (y, x, h, w) of a crop."""
    (frame_w, frame_h), (x0, y0) = (int(v) for v in data["frame"]), (int(v) for v in data["at"][index])
    y, x, h, w = place
    inside = slice(y, y + h), slice(x, x + w)
    size, f_px = (frame_h, frame_w), float(data["f_px"])
    pixels = ((torch.arange(h) + y0 + y)[:, None] * frame_w + torch.arange(w) + x0 + x).flatten()
    image = torch.from_numpy(np.ascontiguousarray(data["crops"][index][inside]))
    truth = torch.from_numpy(np.ascontiguousarray(data["crop_depth"][index][inside]))
    guides = crop_guides(data, index, view)
    depth = guided_depth(sample_at(guides, pixels, size), image.view(-1, 3))
    target = surface_target(truth.flatten(), pixels, size, view)
    camera = Camera(frame_w, frame_h, f_px, f_px, (frame_w - 1) / 2, (frame_h - 1) / 2)
    made = depth.view(h, w), selected[inside], target.view(h, w), truth
    return Window(image, *made, (y0 + y, x0 + x), size, score, averaged(data, view) / 255, view, camera)


def with_normals(window: Window) -> Window:
    """And its true normals."""
    return replace(window, normals=torch.from_numpy(exact_normals(window.truth.numpy(), window.camera, window.origin)))


def _place(rng: np.random.Generator, selected: torch.Tensor, height: int, width: int) -> tuple[int, int] | None:
    """Where a window of this shape begins, each place as likely as it has selected pixels; None where none has enough."""
    rows, columns = (np.unique(np.linspace(0, n, 9).round()).astype(int) for n in np.subtract(selected.shape, (height, width)))
    sums = np.pad(selected.numpy().astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    top, bottom = sums[rows], sums[rows + height]
    held = bottom[:, columns + width] - bottom[:, columns] - top[:, columns + width] + top[:, columns]
    weights = np.where(held >= LEAST_SELECTED * height * width, held, 0).ravel()
    if not weights.sum():
        return None
    chosen = int(rng.choice(weights.size, p=weights / weights.sum()))
    return int(rows[chosen // len(columns)]), int(columns[chosen % len(columns)])


def feature_channels(models: Sequence[CoarseModel]) -> dict[str, int]:
    """C of each model's features, by its name."""
    picture = natural_image(144, 256)
    with torch.inference_mode():
        return {model.name: model.predict(picture.to(model.device), None).features.shape[0] for model in models}
