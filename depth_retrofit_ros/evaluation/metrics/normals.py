"""How far surface normals are from a reference."""

from __future__ import annotations

import numpy as np

WITHIN_DEG = 11.25  # the tightest of the three customary thresholds


def angular_error(normals: np.ndarray, reference: np.ndarray, where: np.ndarray | None = None) -> dict[str, float]:
    """Over the pixels that both know (and ``where``, bool [H, W], picks), the angle between unit normals ``float32 [3, H, W]``.

    ``normal_mean``, ``normal_median`` [deg], and ``normal_within``: the share of angles below 11.25 degrees; NaN without any.
    """
    angles = angles_deg(normals, reference)
    known = np.isfinite(angles) if where is None else np.isfinite(angles) & where
    if not known.any():
        return dict.fromkeys(("normal_mean", "normal_median", "normal_within"), float("nan"))
    angles = angles[known]
    return {
        "normal_mean": float(np.mean(angles, dtype=np.float64)),
        "normal_median": float(np.median(angles)),
        "normal_within": float(np.mean(angles < WITHIN_DEG)),
    }


def angles_deg(normals: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Between unit vectors ``[3, H, W]``, ``float32 [H, W]`` [deg]; exact for small angles too. NaN where either is."""
    apart = np.linalg.norm(normals - reference, axis=0)
    return np.asarray(np.degrees(2 * np.arcsin(np.minimum(apart / 2, 1.0))), np.float32)
