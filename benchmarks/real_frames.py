#!/usr/bin/env python3
"""Real frames with measured depth from public samples, for ``depth-retrofit evaluate``: NAME.png and NAME.npz in a folder each of
``rooms``, ``driving`` and ``stereo``.

CLONES has clones of these repositories, each in a folder of its name; one that is not there is passed over:

- ``Metric3D`` (YvanYin): three frames of NYU Depth v2 (Kinect), three of KITTI (lidar, accumulated);
- ``UniDepth`` (lpiccinelli-eth): one of NYU Depth v2;
- ``tsdf-fusion-python`` (andyzeng): a thousand of one office of 7-Scenes (Kinect), of which ten are taken;
- ``kitti_object_vis`` (kuixu): three of KITTI (lidar, one turn);
- ``stereodemo`` (nburrus), or its wheel, unpacked: seven pairs of rooms and corridors by an OAK-D, which semi-global matching makes
  depth of where the left and the right camera agree. These are beside ``rooms`` because their truth is computed.

The data sets are their authors', most of them for research alone; nothing is trained on them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import DatasetError, DepthRetrofitError
from depth_retrofit_ros.io.depth_files import make_folder, write_depth_npz, write_image

NYU_SEEN = slice(45, 471), slice(41, 601)  # rows and columns in which the depth camera sees what the colour camera does
NYU = (518.86, 519.47, 325.58, 253.74)  # fx, fy, cx, cy [px]
KITTI = (707.05, 707.05, 604.08, 180.51)
SEVEN_SCENES = (585.0, 585.0, 320.0, 240.0)
ROOM_M, STREET_M = 10.0, 80.0  # beyond it the sensors' depth is none
NEAREST_RETURN_M = 1.0  # of the lidar, along the camera's axis: what is nearer is the car
OAK_ROOMS = ("bedroom_chair", "corridor", "cycles", "desk", "kid_bedroom", "living_room", "stairs")
AGREEMENT_PX = 1.0  # of both cameras' disparities
LEAST_DISPARITY_PX = 2.0


@dataclass(frozen=True, slots=True)
class Real:
    """image: uint8 [H, W, 3], RGB; depth: float32 [H, W] m, NaN where nothing was measured."""

    name: str
    image: np.ndarray
    depth: np.ndarray
    camera: Camera


def main(argv: Sequence[str] | None = None) -> int:
    """Write; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clones", type=Path, metavar="CLONES", help="folder of the clones")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets rooms, driving and stereo")
    args = parser.parse_args(argv)
    sets = {"rooms": (nyu, unidepth, seven_scenes), "driving": (kitti, kitti_object), "stereo": (oak_d,)}
    try:
        if not any([write(args.out / name, make(args.clones)) for name, makers in sets.items() for make in makers]):
            raise DatasetError(f"no clone in {args.clones}: it needs folders as 'real_frames.py --help' names them")
    except DepthRetrofitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def write(folder: Path, frames: Iterator[Real]) -> int:
    """Writes pairs; returns how many. Raises OutputError."""
    count = 0
    for frame in frames:
        make_folder(folder)
        write_image(folder / f"{frame.name}.png", frame.image)
        write_depth_npz(folder / f"{frame.name}.npz", frame.depth, 0, True, frame.camera)
        print(f"{folder.name}/{frame.name}", flush=True)
        count += 1
    return count


def nyu(clones: Path) -> Iterator[Real]:
    """Of Metric3D, within what both cameras see."""
    for path in sorted((clones / "Metric3D/data/nyu_demo/rgb").glob("rgb_*.jpg")):
        depth = metres(path.parents[1] / "depth" / f"sync_depth_{path.stem.removeprefix('rgb_')}.png", 1000, ROOM_M)
        fx, fy, cx, cy = NYU
        rows, columns = NYU_SEEN
        image = np.ascontiguousarray(picture(path)[rows, columns])
        yield real(f"nyu_{path.stem}", image, depth[rows, columns], (fx, fy, cx - columns.start, cy - rows.start))


def unidepth(clones: Path) -> Iterator[Real]:
    """Of UniDepth."""
    folder = clones / "UniDepth/assets/demo"
    if folder.is_dir():
        matrix = np.load(folder / "intrinsics.npy")
        depth = metres(folder / "depth.png", 1000, ROOM_M)
        yield real("nyu_unidepth", picture(folder / "rgb.png"), depth, (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]))


def seven_scenes(clones: Path) -> Iterator[Real]:
    """Every hundredth frame of the walk through an office."""
    for path in sorted((clones / "tsdf-fusion-python/data").glob("frame-000?00.color.jpg")):
        depth = metres(path.with_name(path.name.replace(".color.jpg", ".depth.png")), 1000, ROOM_M)
        yield real(f"office_{path.name[6:12]}", picture(path), depth, SEVEN_SCENES)


def kitti(clones: Path) -> Iterator[Real]:
    """Of Metric3D: the depth of the data set, of eleven turns of the lidar."""
    for path in sorted((clones / "Metric3D/data/kitti_demo/rgb").glob("*.png")):
        yield real(f"kitti_{path.stem}", picture(path), metres(path.parents[1] / "depth" / path.name, 256, STREET_M), KITTI)


def kitti_object(clones: Path) -> Iterator[Real]:
    """One turn of the lidar, of which the nearest return counts where two meet in a pixel."""
    folder = clones / "kitti_object_vis/data/object/training"
    for path in sorted((folder / "velodyne").glob("*.bin")):
        image = picture(folder / "image_2" / f"{path.stem}.png")
        given = calibration((folder / "calib" / f"{path.stem}.txt").read_text(encoding="ascii"))
        points = np.fromfile(path, np.float32).reshape(-1, 4)[:, :3]
        depth, projection = lidar_depth(points, given, image.shape[:2]), given["P2"]
        yield real(f"kitti_object_{path.stem}", image, depth, projection[[0, 1, 0, 1], [0, 1, 2, 2]])


def calibration(text: str) -> dict[str, np.ndarray]:
    """KITTI's lines of a name and a matrix of three rows; 3×3 ones become 4×4, as the other two are [3, 4]."""
    found = {}
    for name, _, values in (line.partition(":") for line in text.splitlines() if ":" in line):
        matrix = np.array(values.split(), float).reshape(3, -1)
        found[name] = matrix if matrix.shape[1] == 4 else np.pad(matrix, ((0, 1), (0, 1))) + np.diag([0.0, 0, 0, 1])
    return found


def lidar_depth(points: np.ndarray, given: dict[str, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Depth [m] of ``shape`` (h, w), NaN where no return is. points: [N, 3] m, of the lidar; given: see ``calibration``."""
    to_camera = np.vstack([given["Tr_velo_to_cam"], [0, 0, 0, 1]])
    placed = np.column_stack([points, np.ones(len(points))]).astype(float)
    x, y, z = given["P2"] @ given["R0_rect"] @ to_camera @ placed.T
    ahead = z > NEAREST_RETURN_M
    column, row, z = np.rint(x[ahead] / z[ahead]), np.rint(y[ahead] / z[ahead]), z[ahead]
    seen = (column >= 0) & (column < shape[1]) & (row >= 0) & (row < shape[0]) & (z < STREET_M)
    depth = np.full(shape, np.inf, np.float32)
    np.minimum.at(depth, (row[seen].astype(int), column[seen].astype(int)), z[seen].astype(np.float32))
    depth[np.isinf(depth)] = np.nan
    return depth


def oak_d(clones: Path) -> Iterator[Real]:
    """Of stereodemo, the frames that are neither of a hand nor of a face nor of a toy."""
    folder = next((path.parent for path in sorted(clones.glob("stereodemo*/**/oak-d/stereodemo_calibration.json"))), None)
    if folder is not None:
        given = json.loads((folder / "stereodemo_calibration.json").read_text(encoding="utf-8"))
        for name in OAK_ROOMS:
            left, right = (picture(folder / f"{name}_{side}.png") for side in ("left", "right"))
            depth = stereo_depth(left, right, given["fx"] * given["baseline_meters"])
            yield real(f"oak_{name}", left, depth, (given["fx"], given["fx"], given["cx0"], given["cy"]))


def stereo_depth(left: np.ndarray, right: np.ndarray, product: float) -> np.ndarray:
    """product: of focal length and baseline [px m]. Semi-global matching; NaN where the cameras disagree."""
    seen = disparity(left, right)
    other = disparity(np.ascontiguousarray(right[:, ::-1]), np.ascontiguousarray(left[:, ::-1]))[:, ::-1]
    place = np.clip(np.rint(np.arange(seen.shape[1]) - seen).astype(int), 0, seen.shape[1] - 1)
    agreed = (seen > LEAST_DISPARITY_PX) & (np.abs(np.take_along_axis(other, place, 1) - seen) < AGREEMENT_PX)
    return np.where(agreed, product / np.maximum(seen, LEAST_DISPARITY_PX), np.nan).astype(np.float32)


def disparity(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of the left image [px]; negative where it is unknown."""
    block = 5
    matching = cv2.StereoSGBM.create(
        minDisparity=0,
        numDisparities=128,
        blockSize=block,
        P1=8 * 3 * block**2,
        P2=32 * 3 * block**2,
        disp12MaxDiff=1,
        preFilterCap=63,
        uniquenessRatio=8,
        speckleWindowSize=120,
        speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )
    return matching.compute(left, right).astype(np.float32) / 16


def real(name: str, image: np.ndarray, depth: np.ndarray, intrinsics: tuple[float, ...] | np.ndarray) -> Real:
    """intrinsics: fx, fy, cx, cy [px]."""
    height, width = image.shape[:2]
    return Real(name, image, depth, Camera(width, height, *(float(value) for value in intrinsics)))


def picture(path: Path) -> np.ndarray:
    """uint8 [H, W, 3], RGB. Raises DatasetError."""
    return stored(path, cv2.IMREAD_COLOR)[..., ::-1].copy()


def metres(path: Path, unit: int, farthest: float) -> np.ndarray:
    """Of a 16-bit PNG, so many units a metre; NaN where nothing was measured or beyond ``farthest``. Raises DatasetError."""
    depth = stored(path, cv2.IMREAD_UNCHANGED).astype(np.float32) / unit
    return np.where((depth > 0) & (depth <= farthest), depth, np.nan).astype(np.float32)


def stored(path: Path, flags: int) -> np.ndarray:
    """What OpenCV reads. Raises DatasetError."""
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise DatasetError(f"{path} is no picture: fetch the clone anew")
    return pixels


if __name__ == "__main__":
    sys.exit(main())
