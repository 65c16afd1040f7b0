#!/usr/bin/env python3
"""The README's pictures: crops of input, coarse depth stretched to camera size, refined depth, and true depth where it is known.

    python benchmarks/make_pictures.py --out docs/images                                         # edges.jpg, of the demo's film
    python benchmarks/make_pictures.py --out docs/images --bag BAG --photos PHOTOS --meter DIR    # also real.jpg
    DEPTH_RETROFIT_SHARED=DATA make pictures                                                     # the same

``edges.jpg``: the demo's room (depth_retrofit_ros/film) by the bundled model, and by a simulated coarse model
(training/degradations.py), as good as a large foundation model. ``real.jpg``: a D435's color frames beside the sensor's own depth,
by METER and the bundled model, and photographs; docs/images/SOURCES.md names where they come from.

With ``--pairs`` also the film as DIR/frames and the simulated model's answers as DIR/simulated, for figures on the same room:

    python benchmarks/make_pictures.py --out docs/images --pairs out/film
    depth-retrofit evaluate out/film/frames --model compact --json benchmarks/results/film_compact.json
    depth-retrofit evaluate out/film/frames --coarse out/film/simulated --json benchmarks/results/film_simulated.json
    depth-retrofit replay BAG --depth-topic /camera/aligned_depth_to_color/image_raw --every-frame \\
        --model meter-nyu --weights DIR --json benchmarks/results/replay_d435_meter-nyu.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.claim import stored_claim
from depth_retrofit_ros.coarse.stored import StoredCoarse
from depth_retrofit_ros.errors import DepthRetrofitError, UsageError
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.io.color_map import UNKNOWN_RGB
from depth_retrofit_ros.io.depth_files import make_folder, write_depth_npz, write_image, writing
from depth_retrofit_ros.io.photos import read_photo
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.retrofit import Retrofit, load
from depth_retrofit_ros.ros.replay.bag_source import BagSource
from depth_retrofit_ros.training.coarse_views import FAR_FACTOR
from depth_retrofit_ros.training.degradations import point_sampled, simulate_coarse
from depth_retrofit_ros.training.pool import VIEW_SIDE
from depth_retrofit_ros.training.scenes.film import Film
from depth_retrofit_ros.training.scenes.video import VideoFrame
from depth_retrofit_ros.upsampling.interpolation import upsample

CROP = (640, 480)  # shown at CROP * ZOOM pixels
ZOOM = 0.6
QUALITY = 88
LONG_SIDE = 2560  # of a photograph, as a camera of this size would have taken it
DEPTH_TOPIC = "/camera/aligned_depth_to_color/image_raw"


@dataclass(frozen=True, slots=True)
class Crop:
    """model: of ``depth-retrofit models``, or ``simulated``; source: number of a frame, or name of a photograph; corner: upper left
    [px]; scale: the crop takes so many pixels for one shown."""

    model: str
    source: str
    corner: tuple[int, int]
    scale: float = 1.0


ROOM = (Crop("compact", "0", (720, 520)), Crop("simulated", "0", (720, 520)), Crop("simulated", "0", (640, 960)))
TABLETOPS = (Crop("meter-nyu", "6", (340, 170)), Crop("compact", "4", (260, 190)))
PHOTOS = (
    Crop("meter-nyu", "sunset_by_the_pier", (640, 600), 2.0),
    Crop("meter-nyu", "ryan_schroeder", (200, 620), 2.0),
    Crop("compact", "mr_lee", (300, 100), 2.0),
)


def main() -> int:
    """Refine and draw; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the pictures")
    parser.add_argument("--bag", type=Path, help="frames of a D435 with aligned depth")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="folder of the photographs")
    parser.add_argument("--meter", type=Path, metavar="DIR", help="folder of METER's checkpoints")
    parser.add_argument("--pairs", type=Path, metavar="DIR", help="write the film as pairs for depth-retrofit evaluate")
    parser.add_argument("--refiner", type=Path, metavar="PATH", help="a refiner checkpoint (default: the bundled one)")
    parser.add_argument("--seed", type=int, default=5, help="of the simulated model")
    args = parser.parse_args()
    try:
        if len({args.bag is None, args.photos is None, args.meter is None}) == 2:
            raise UsageError("real.jpg takes --bag, --photos and --meter: give all three, or none")
        film = Film()
        views = list(film.views(film.camera.width, film.camera.height))
        if args.pairs is not None:
            write_pairs(args.pairs, views, args.seed)
        models = Models(args.meter, args.refiner)
        write_picture(args.out / "edges.jpg", list(room_rows(models, views, args.seed)))
        if args.bag is not None:
            write_picture(args.out / "real.jpg", [*tabletop_rows(models, args.bag), *photo_rows(models, args.photos)])
    except DepthRetrofitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


class Models:
    """Each loaded once. meter: folder of METER's checkpoints."""

    def __init__(self, meter: Path | None, refiner: Path | None) -> None:
        self._meter, self._refiner = meter, refiner
        self._loaded: dict[str, Retrofit] = {}

    def named(self, name: str) -> Retrofit:
        """By its name in the registry."""
        if name not in self._loaded:
            weights = self._meter if name.startswith("meter") else None
            self._loaded[name] = load(name, weights=weights, refiner=self._refiner, device="cpu", refiner_precision="float32")
        return self._loaded[name]

    def simulated(self, prediction: CoarsePrediction) -> Retrofit:
        """One that answers with this."""
        return Retrofit(
            StoredCoarse(prediction, True, stored_claim(metric=False)),
            load_refiner(self._refiner, torch.device("cpu"), precision="float32"),
        )


def room_rows(models: Models, views: Sequence[VideoFrame], seed: int) -> Iterator[np.ndarray]:
    """Of ``ROOM``."""
    titles = ("input", "coarse depth, stretched", "refined at 10 % of the pixels", "true depth")
    yield title_row(titles)
    for crop in ROOM:
        view = views[int(crop.source)]
        simulated = crop.model == "simulated"
        retrofit = models.simulated(simulated_answer(view, seed)) if simulated else models.named(crop.model)
        result = retrofit(Frame(view.image, camera=view.camera))
        yield picture_row(crop, view.image, result, view.depth)


def tabletop_rows(models: Models, bag: Path) -> Iterator[np.ndarray]:
    """Of ``TABLETOPS``."""
    source = BagSource(bag, depth_topic=DEPTH_TOPIC)
    yield title_row(("D435, color", "coarse depth, stretched", "refined", "the sensor's depth (dark: none)"))
    pairs = {str(pair.number): pair for pair in source.pairs({int(crop.source) for crop in TABLETOPS})}
    for crop in TABLETOPS:
        pair = pairs[crop.source]
        yield picture_row(crop, pair.frame.image, models.named(crop.model)(pair.frame), pair.reference)


def photo_rows(models: Models, folder: Path) -> Iterator[np.ndarray]:
    """Of ``PHOTOS``."""
    yield title_row(("photograph", "coarse depth, stretched", "refined", "the photograph alone"))
    for crop in PHOTOS:
        photo = read_photo(folder / f"{crop.source}.jpg")
        height, width = photo.image.shape[:2]
        scale = min(1.0, LONG_SIDE / max(height, width))
        image = cv2.resize(photo.image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        camera = photo.exif_camera()
        frame = Frame(image, camera=None if camera is None else camera.resized(image.shape[1], image.shape[0]))
        yield picture_row(crop, image, models.named(crop.model)(frame), None)


def picture_row(crop: Crop, image: np.ndarray, result: DepthFrame, reference: np.ndarray | None) -> np.ndarray:
    """Four panels of a crop, RGB; one colour scale for all, the reference scaled to the coarse depth's median in the crop.

    Without a reference the fourth panel is the input without the outline.
    """
    x, y = crop.corner
    width, height = (round(v * crop.scale) for v in CROP)
    window = slice(y, y + height), slice(x, x + width)
    coarse = upsample(result.coarse, image.shape[:2], "bilinear").numpy()[window]
    refined, part = result.depth.numpy()[window], image[window]
    low, high = np.quantile(1 / coarse, [0.01, 0.99])

    def colored(depth: np.ndarray) -> np.ndarray:
        known = ~np.isnan(depth)
        level = np.clip((1 / np.where(known, depth, 1) - low) / (high - low), 0, 1)
        color = cv2.applyColorMap((255 * level).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
        return np.where(known[..., None], color, np.array(UNKNOWN_RGB, np.uint8))

    last = shown(part)
    if reference is not None:
        truth = np.where(reference > 0, reference, np.nan)[window]  # not where the sensor says nothing
        known = np.isfinite(truth)
        last = shown(colored(truth * np.median(coarse[known] / truth[known])))
    panels = [outlined(part, result.selection.mask().numpy()[window]), shown(colored(coarse)), shown(colored(refined)), last]
    at = 10, panels[0].shape[0] - 12
    for color, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(panels[0], crop.model, at, cv2.FONT_HERSHEY_SIMPLEX, 0.7, color, thickness, cv2.LINE_AA)
    return np.hstack(panels)


def shown(panel: np.ndarray) -> np.ndarray:
    """At the size of a panel."""
    return cv2.resize(panel, (round(CROP[0] * ZOOM), round(CROP[1] * ZOOM)), interpolation=cv2.INTER_AREA)


def outlined(part: np.ndarray, selected: np.ndarray) -> np.ndarray:
    """The input with the outline of the selected pixels."""
    border = cv2.morphologyEx(selected.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    drawn = part.copy()
    drawn[border > 0] = (255, 0, 0)
    return shown(drawn)


def title_row(titles: Sequence[str]) -> np.ndarray:
    """One over each panel."""
    width = round(CROP[0] * ZOOM)
    row = np.full((28, width * len(titles), 3), 255, np.uint8)
    for column, title in enumerate(titles):
        cv2.putText(row, title, (width * column + 8, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    return row


def write_picture(path: Path, rows: Sequence[np.ndarray]) -> None:
    """Rows of one width, RGB."""
    make_folder(path.parent)
    ok, data = cv2.imencode(".jpg", np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert ok
    with writing(path):
        path.write_bytes(data.tobytes())


def simulated_answer(view: VideoFrame, seed: int) -> CoarsePrediction:
    """A simulated coarse map of this view, with features."""
    depth, features = simulate_coarse(np.random.default_rng(seed), point_sampled(view.depth, VIEW_SIDE, FAR_FACTOR))
    return CoarsePrediction(torch.from_numpy(depth), torch.from_numpy(features))


def write_pairs(folder: Path, views: Sequence[VideoFrame], seed: int) -> None:
    """The film and what the simulated model says of it, each view by another seed."""
    frames, answers = make_folder(folder / "frames"), make_folder(folder / "simulated")
    for number, view in enumerate(views):
        write_image(frames / f"view_{number}.png", view.image)
        write_depth_npz(frames / f"view_{number}.npz", view.depth, 0, True, view.camera)
        answer = simulated_answer(view, seed + number)
        assert answer.features is not None
        with writing(answers / f"view_{number}.npz"):
            np.savez(
                answers / f"view_{number}.npz",
                depth=answer.depth.numpy(),
                features=answer.features.numpy(),
                metric=np.bool_(False),
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
