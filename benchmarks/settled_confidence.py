"""What confidence says of pixels that keep what earlier frames refined them to, on rendered video of a standing camera.

    python benchmarks/settled_confidence.py --json benchmarks/results/settled_confidence.json

Of the settled pixels that are not refined now: the share that is right, and what is stated of them, by the refiner's choices that
they keep and, as a comparison, as if nobody had refined them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from camera_motion import rendered
from temporal import BUDGET, HFOV_DEG, Simulated, View, stamp_of

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.confidence.correctness import is_right
from depth_retrofit_ros.confidence.estimate import confidence_of
from depth_retrofit_ros.evaluation.metrics.reliability import reliability, risk_areas
from depth_retrofit_ros.evaluation.report.results import to_json
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io.depth_files import write_text
from depth_retrofit_ros.refinement.registry import DEFAULT as REFINER
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.temporal.steadiness import Steadiness
from depth_retrofit_ros.training.scenes.textures import build_textures

SCENES = (("room", 55), ("street", 89))
FROM, EVERY = 4, 3  # the first frame that is judged, and every so many after it


def judged(views: list[View], coarse: CoarseModel) -> dict[str, Any]:
    """``stated`` and errors of both, over the settled pixels of the judged frames, each the same."""
    camera = Camera.from_hfov(views[0].image.shape[1], views[0].image.shape[0], HFOV_DEG)
    retrofit = Retrofit(coarse, load_refiner(REFINER, torch.device("cpu")), BUDGET, temporal=Steadiness())
    stated: dict[str, list[np.ndarray]] = {"as_settled": [], "as_unrefined": []}
    rights = []
    for i, view in enumerate(views):
        result = retrofit(Frame(view.image, stamp_of(i), "camera", camera))
        if i < FROM or (i - FROM) % EVERY:
            continue
        assert result.settled is not None
        truth = np.where(np.isfinite(view.depth), view.depth, np.float32(np.nan))
        at = ((result.settled.settled > 0) & ~result.selection.mask()).numpy() & np.isfinite(truth)
        rights.append(is_right(result.depth.numpy(), truth)[at])
        for name, given in (("as_settled", result), ("as_unrefined", replace(result, settled=None))):
            stated[name].append(confidence_of(given).numpy()[at])
    right = np.concatenate(rights)
    told: dict[str, Any] = {"pixels": right.size, "right": float(right.mean())}
    for name, values in stated.items():
        confidence = np.concatenate(values)
        curve = reliability(confidence, right)
        brier = float(np.mean((confidence - right) ** 2))
        told[name] = {"stated": float(confidence.mean()), "ece": curve.calibration_error, "brier": brier}
        told[name] |= risk_areas(confidence, right)
    return told


def table(document: dict[str, Any]) -> str:
    """For docs/confidence.md: as if unrefined → by the choices that they keep."""
    rows = ["| scene | model | within 5 % | stated | ECE | Brier | AUSE |", "|---|---|---|---|---|---|---|"]
    for row in document["sequences"]:
        before, now = row["as_unrefined"], row["as_settled"]
        cells = [f"{before[key]:.3f} → {now[key]:.3f}" for key in ("stated", "ece", "brier", "ause")]
        rows.append(f"| {row['scene']} {row['seed']} | {row['model']} | {row['right']:.3f} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "settled_confidence.json")
    parser.add_argument("--views", type=Path, help="folder in which rendered sequences are kept")
    args = parser.parse_args()
    textures, compact = build_textures(13), load_coarse("compact", weights=None, device="cpu")
    sequences = []
    for kind, seed in SCENES:
        views = rendered(kind, seed, "standing", textures, args.views)
        models: dict[str, CoarseModel] = {"compact": compact, "simulated": Simulated(views, seed)}
        for name, coarse in models.items():
            sequences.append({"scene": kind, "seed": seed, "model": name} | judged(views, coarse))
    document = {"sequences": sequences}
    print(table(document))
    write_text(args.json, to_json(document))


if __name__ == "__main__":
    main()
