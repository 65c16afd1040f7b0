"""What a photo's EXIF says of its camera: which side is up, and the 35 mm equivalent focal length. Parsed by Pillow."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)  # what a "35 mm equivalent" focal length refers to (CIPA DCG-001)

# Tags of EXIF 2.32.
_EXIF_IFD, _ORIENTATION = 0x8769, 0x0112
_FOCAL_LENGTH, _FOCAL_35MM, _DIGITAL_ZOOM = 0x920A, 0xA405, 0xA404
_WIDTH, _HEIGHT, _PLANE_RESOLUTION, _PLANE_UNIT = 0xA002, 0xA003, 0xA20E, 0xA210
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 1e-3}  # inch, cm; mm and um are extensions that some cameras write
_DEFAULT_UNIT = 2

_FOCAL_35MM_RANGE = (3.0, 6000.0)  # from a circular fisheye to the longest zoom; other values mean "unknown" (0, 65535)
_MOST_ZOOM = 100.0
_SAME_SHAPE = 0.01  # relative difference of the aspect ratios of a picture and its scaled copy


@dataclass(frozen=True, slots=True)
class Exif:
    """orientation: 1…8, 1 for upright; focal_35mm: the 35 mm equivalent focal length [mm], or None."""

    orientation: int = 1
    focal_35mm: float | None = None


def block_tags(block: bytes) -> Image.Exif:
    """Pillow's tags of an EXIF block, with or without its "Exif" prefix. May raise whatever Pillow does."""
    tags = Image.Exif()
    tags.load(block)
    return tags


def read_exif(tags_of: Callable[[], Image.Exif], width: int, height: int) -> Exif:
    """What the tags say of a picture that is stored as ``width x height``; damaged tags say nothing, as if there were none.

    ``tags_of`` gives them when called: Pillow parses late, and warns of a block that is cut and gives the tags before the cut.
    """
    tags: dict[int, Any] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exif = tags_of()
            tags |= exif
            tags |= exif.get_ifd(_EXIF_IFD)  # which may be damaged where the tags before it are not
    except MemoryError:
        raise
    except Exception:  # Pillow's parser over a stranger's bytes: what it may raise is not a short list
        pass
    orientation = tags.get(_ORIENTATION)
    if not isinstance(orientation, int) or not 1 <= orientation <= 8:
        orientation = 1
    focal = _number(tags, _FOCAL_35MM)
    if not _is_focal(focal):
        focal = _from_focal_plane(tags, width, height)
    return Exif(orientation, focal if _is_focal(focal) else None)


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """The stored picture ``[H, W, …]``, turned and mirrored as its EXIF orientation asks (1…8); contiguous."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _from_focal_plane(tags: Mapping[int, Any], width: int, height: int) -> float | None:
    """The 35 mm equivalent [mm] of the focal length on a sensor whose pixels per unit are told; None where something is missing.

    The resolution is that of the picture that the camera recorded. Where this is a scaled copy, its pixels are larger by as much;
    where it is a crop, which only its shape tells, nothing is known.
    """
    focal_mm, resolution = _number(tags, _FOCAL_LENGTH), _number(tags, _PLANE_RESOLUTION)
    mm_per_unit = _MM_PER_UNIT.get(int(_number(tags, _PLANE_UNIT) or _DEFAULT_UNIT))
    if not focal_mm or not resolution or mm_per_unit is None:
        return None
    recorded = (_number(tags, _WIDTH) or width, _number(tags, _HEIGHT) or height)
    long, short = max(width, height), min(width, height)
    if abs(max(recorded) * short - min(recorded) * long) > _SAME_SHAPE * max(recorded) * short:
        return None
    f_px = focal_mm * resolution / mm_per_unit * (long / max(recorded))
    zoom = _number(tags, _DIGITAL_ZOOM) or 1.0  # 0 means "not used"
    if not 1.0 <= zoom <= _MOST_ZOOM:
        return None
    return zoom * f_px * FULL_FRAME_DIAGONAL_MM / math.hypot(width, height)


def _number(tags: Mapping[int, Any], tag: int) -> float | None:
    """A finite number above zero; None where the tag is absent, no number, or a fraction with a zero denominator."""
    value = tags.get(tag)
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _is_focal(focal_35mm: float | None) -> bool:
    return focal_35mm is not None and _FOCAL_35MM_RANGE[0] <= focal_35mm <= _FOCAL_35MM_RANGE[1]
