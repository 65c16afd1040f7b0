"""A set of frames, as the ablations of several sets take it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from test.evaluation.scenes import coarse_of, sample


@pytest.fixture
def room(tmp_path: Path) -> str:
    """One frame and its coarse map: NAME=FRAMES=COARSE."""
    frames, coarse = tmp_path / "frames", tmp_path / "coarse"
    for folder in (frames, coarse):
        folder.mkdir()
    one = sample(frames)
    np.savez(coarse / f"{one.name}.npz", depth=coarse_of(one.depth, 8))
    return f"room={frames}={coarse}"
