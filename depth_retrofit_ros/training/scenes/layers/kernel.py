"""Layers seen along the rays of a window: for every pixel the nearest one that is solid there, its depth, its colour."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.device.kernel_cache import FAST_WITH_INFINITY, cached_njit

SAMPLES = 3  # across a pixel where an outline passes through it
GAMMA = 2.2
STEPS = 16  # of a signed distance in int8, per texel


@cached_njit(error_model="numpy", fastmath=FAST_WITH_INFINITY)
def _inside(distance: np.ndarray, u: float, v: float, repeats: bool) -> float:
    """Signed distance [texels] at (u, v), texels from the corner; far outside beyond the border unless it repeats."""
    h, w = distance.shape
    if repeats:
        u, v = u - np.floor(u / w) * w, v - np.floor(v / h) * h
    elif u < 0 or v < 0 or u >= w or v >= h:
        return -1e3
    x, y = min(max(u - 0.5, 0.0), w - 1.001), min(max(v - 0.5, 0.0), h - 1.001)
    i, j = int(y), int(x)
    fy, fx = y - i, x - j
    top = distance[i, j] * (1 - fx) + distance[i, j + 1] * fx
    return (top * (1 - fy) + (distance[i + 1, j] * (1 - fx) + distance[i + 1, j + 1] * fx) * fy) / STEPS


@cached_njit(error_model="numpy", fastmath=FAST_WITH_INFINITY)
def _inverse_depth(plane: np.ndarray, x: float, y: float) -> float:
    """Of the surface [a, b, c, bump, fx, fy, phase] at the ray (x, y, 1); 0 is infinitely far."""
    flat = plane[0] + plane[1] * x + plane[2] * y
    return max(flat * (1 + plane[3] * np.sin(plane[4] * x + plane[5] * y + plane[6])), 0.0)


@cached_njit(error_model="numpy", fastmath=FAST_WITH_INFINITY)
def _nearest(
    x: float,
    y: float,
    planes: np.ndarray,
    outline: np.ndarray,
    to_outline: np.ndarray,
    repeats: np.ndarray,
    distances: np.ndarray,
    reach: np.ndarray,
    bounds: np.ndarray,
    active: np.ndarray,
) -> tuple[int, float, bool]:
    """Of the ``active`` layers the one that the ray (x, y, 1) meets first, its inverse depth, and whether the outline of
    one that is not behind it is within ``reach`` [L]."""
    found, inverse, nearest_edge = 0, -1.0, -2.0
    for k in active:
        if x < bounds[k, 0] or x > bounds[k, 1]:
            continue
        if outline[k] >= 0:
            m = to_outline[k]
            u, v = m[0, 0] * x + m[0, 1] * y + m[0, 2], m[1, 0] * x + m[1, 1] * y + m[1, 2]
            inside = _inside(distances[outline[k]], u, v, repeats[k])
            if inside <= -reach[k]:
                continue
        else:
            inside = np.inf
        value = _inverse_depth(planes[k], x, y)
        if inside < reach[k]:
            nearest_edge = max(nearest_edge, value)
        if inside > 0 and value > inverse:
            found, inverse = k, value
    return found, inverse, nearest_edge >= inverse


@cached_njit(error_model="numpy", fastmath=FAST_WITH_INFINITY)
def _color(texels: np.ndarray, levels: np.ndarray, m: np.ndarray, x: float, y: float, channel: np.ndarray) -> None:
    """Bilinear look-up of an image [offset, width, height per level] at the ray (x, y, 1), mirrored at its borders."""
    step = max(np.hypot(m[0, 0], m[1, 0]), np.hypot(m[0, 1], m[1, 1])) * channel[3]
    level = min(max(int(np.rint(np.log2(max(step, 1e-6)))), 0), len(levels) - 1)
    offset, w, h = levels[level]
    u = (m[0, 0] * x + m[0, 1] * y + m[0, 2]) / (2.0 * levels[0, 1])
    v = (m[1, 0] * x + m[1, 1] * y + m[1, 2]) / (2.0 * levels[0, 2])
    px = max((1 - abs(u - np.floor(u) - 0.5) * 2) * w - 0.5, 0.0)
    py = max((1 - abs(v - np.floor(v) - 0.5) * 2) * h - 0.5, 0.0)
    j, i = min(int(px), w - 1), min(int(py), h - 1)
    fx, fy = px - j, py - i
    j1, i1 = min(j + 1, w - 1), min(i + 1, h - 1)
    for c in range(3):
        a = texels[offset + i * w + j, c] * (1 - fx) + texels[offset + i * w + j1, c] * fx
        b = texels[offset + i1 * w + j, c] * (1 - fx) + texels[offset + i1 * w + j1, c] * fx
        channel[c] = (a * (1 - fy) + b * fy) / 255


@cached_njit(nogil=True, error_model="numpy", fastmath=FAST_WITH_INFINITY)
def render_layers(
    xs: np.ndarray,
    ys: np.ndarray,
    pixel: float,
    planes: np.ndarray,
    outline: np.ndarray,
    to_outline: np.ndarray,
    repeats: np.ndarray,
    distances: np.ndarray,
    bounds: np.ndarray,
    picture: np.ndarray,
    to_picture: np.ndarray,
    tint: np.ndarray,
    texels: np.ndarray,
    levels: np.ndarray,
    image: np.ndarray,
    depth: np.ndarray,
) -> None:
    """image [h, w, 3] 0…1 display-referred and depth [h, w] m, for rays (xs, ys, 1), ``pixel`` apart.

    planes [L, 7]; outline [L] of distances [D, M, M], −1 for a layer without one; to_outline, to_picture [L, 2, 3]: from rays to
    texels; repeats [L]; bounds [L, 4]: least and greatest x and y of a layer; picture [L] of levels [I, V, 3] in texels [N, 3];
    tint [L, 3].
    """
    reach = np.empty(len(planes))
    for k in range(len(planes)):
        reach[k] = pixel * np.hypot(to_outline[k, 0, 0], to_outline[k, 1, 0])
    color, display_tint, active = np.empty(4), tint ** (1 / GAMMA), np.empty(len(planes), np.int64)
    color[3] = pixel
    for i in range(len(ys)):
        count = 0
        for k in range(len(planes)):
            if bounds[k, 2] - pixel < ys[i] < bounds[k, 3] + pixel:
                active[count] = k
                count += 1
        near = active[:count]
        for j in range(len(xs)):
            k, inverse, edge = _nearest(xs[j], ys[i], planes, outline, to_outline, repeats, distances, reach, bounds, near)
            depth[i, j] = 1 / inverse if inverse > 1e-6 else np.inf
            if not edge:
                _color(texels, levels[picture[k]], to_picture[k], xs[j], ys[i], color)
                for c in range(3):
                    image[i, j, c] = min(display_tint[k, c] * color[c], 1.0)
                continue
            r = g = b = 0.0
            shown = -1
            for sample in range(SAMPLES * SAMPLES):
                x = xs[j] + pixel * ((sample % SAMPLES + 0.5) / SAMPLES - 0.5)
                y = ys[i] + pixel * ((sample // SAMPLES + 0.5) / SAMPLES - 0.5)
                k, _, _ = _nearest(x, y, planes, outline, to_outline, repeats, distances, reach, bounds, near)
                if k != shown:  # within a pixel one look at each layer will do
                    _color(texels, levels[picture[k]], to_picture[k], x, y, color)
                    for c in range(3):
                        color[c] = tint[k, c] * color[c] ** GAMMA
                    shown = k
                r, g, b = r + color[0], g + color[1], b + color[2]
            for c, light in ((0, r), (1, g), (2, b)):
                image[i, j, c] = min(light / (SAMPLES * SAMPLES), 1.0) ** (1 / GAMMA)
