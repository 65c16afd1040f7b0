"""One synthetic frame through the whole method, before the first real one is accepted."""

from __future__ import annotations

import time

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.retrofit import Retrofit

SIZE = (360, 640)
KNOWN = 0.5  # share of the pixels that must have a depth: noise is no scene, but a working model answers something


def self_check(retrofit: Retrofit) -> float:
    """Warm up, look at the answer, and return what another one takes [s].

    Raises ModelError where it is no depth: broken weights, a half-precision overflow, …
    """
    depth = retrofit.warm_up(*SIZE).depth
    usable = float(((depth > 0) & depth.isfinite()).float().mean())
    if usable < KNOWN:
        raise ModelError(
            f"self-check of {retrofit.coarse.name} on {retrofit.coarse.device} failed: {100 * (1 - usable):.0f} % of its depths "
            "are not finite and positive; try another checkpoint, or device cpu"
        )
    start_s = time.perf_counter()
    retrofit.warm_up(*SIZE)
    return time.perf_counter() - start_s
