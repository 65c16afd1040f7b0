"""Kernels of ``render_cpu``: rays against primitives, and what light comes back along them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from depth_retrofit_ros.device.kernel_cache import FAST_WITH_INFINITY, cached_njit

SHADOW_SIZE = 1024
QUAD, BOX, CYLINDER = 0, 1, 2  # of scene.Kind: what is compiled would not follow it
BRIGHTEST = 4.0  # a sample counts at most this much in its pixel, of which 1 is white


class SceneArrays(NamedTuple):
    """The scene as the kernels take it."""

    kind: np.ndarray
    center: np.ndarray
    rotation: np.ndarray
    half: np.ndarray
    texture: np.ndarray
    scale_m: np.ndarray
    tint: np.ndarray
    gloss: np.ndarray
    cutout: np.ndarray
    cutout_scale_m: np.ndarray
    texels: np.ndarray
    solid: np.ndarray
    size: int  # of a texture
    levels: int


class Lighting(NamedTuple):
    """to_sun, sun, ambient, sky_top, sky_horizon, lamp_at, lamp [3]; clouds: texture or −1; shadow [S, S] of ``sun_frame`` [3, 3],
    from ``low`` [2] m on, ``scale`` texels/m, sampled ``penumbra`` texels apart."""

    to_sun: np.ndarray
    sun: np.ndarray
    ambient: np.ndarray
    sky_top: np.ndarray
    sky_horizon: np.ndarray
    lamp_at: np.ndarray
    lamp: np.ndarray
    clouds: int
    shadow: np.ndarray
    sun_frame: np.ndarray
    low: np.ndarray
    scale: float
    penumbra: float


@cached_njit(error_model="numpy")
def _slab(o: float, d: float) -> tuple[float, float]:
    inverse = 1 / (1e-12 if abs(d) < 1e-12 else d)
    a, b = (-1 - o) * inverse, (1 - o) * inverse
    return min(a, b), max(a, b)


@cached_njit(error_model="numpy")
def _hit(kind: int, o0: float, o1: float, o2: float, d0: float, d1: float, d2: float, near: float) -> float:
    """Entry distance of the ray o + t·d into the unit shape, inf where it misses or enters before ``near``."""
    if kind == QUAD:
        t = -o2 / (d2 if d2 != 0 else 1e-30)
        inside = abs(o0 + t * d0) < 1 and abs(o1 + t * d1) < 1 and t > near
        return t if inside else np.inf
    if kind == BOX:
        enter, leave = _slab(o0, d0)
        a, b = _slab(o1, d1)
        enter, leave = max(enter, a), min(leave, b)
    else:
        round_z = 0.0 if kind == CYLINDER else 1.0
        a = max(d0 * d0 + d1 * d1 + round_z * d2 * d2, 1e-12)
        t = -(o0 * d0 + o1 * d1 + round_z * o2 * d2) / a
        c0, c1, c2 = o0 + t * d0, o1 + t * d1, round_z * (o2 + t * d2)
        root = (1 - c0 * c0 - c1 * c1 - c2 * c2) / a
        if root <= 0:
            return np.inf
        enter, leave = t - np.sqrt(root), t + np.sqrt(root)
    if kind in (BOX, CYLINDER):
        a, b = _slab(o2, d2)
        enter, leave = max(enter, a), min(leave, b)
    return enter if enter < leave and enter > near else np.inf


@cached_njit(error_model="numpy")
def _open(s: Any, p: int, x: float, y: float) -> bool:
    """Whether primitive ``p`` has a hole at (x, y) in units of its half size."""
    u = x * s.half[p, 0] / s.cutout_scale_m[p]
    v = y * s.half[p, 1] / s.cutout_scale_m[p]
    col = min(int((u - np.floor(u)) * s.size), s.size - 1)
    row = min(int((v - np.floor(v)) * s.size), s.size - 1)
    return not s.solid[s.cutout[p], row, col]


@cached_njit(error_model="numpy")
def _span(kind: int, o: np.ndarray, a: np.ndarray, y: float) -> tuple[float, float]:
    """Between which x of the row y a cylinder or an ellipsoid can be met: |o × d|² < |d|² with d linear in x."""
    rows = 2 if kind == CYLINDER else 3
    qa = qb = qc = 0.0
    for i in range(rows):
        e, f = a[i, 0], a[i, 1] * y + a[i, 2]
        qa -= e * e
        qb -= 2 * e * f
        qc -= f * f
        for j in range(i + 1, rows):
            m = o[i] * a[j, 0] - o[j] * a[i, 0]
            n = o[i] * (a[j, 1] * y + a[j, 2]) - o[j] * (a[i, 1] * y + a[i, 2])
            qa += m * m
            qb += 2 * m * n
            qc += n * n
    root = qb * qb - 4 * qa * qc
    if qa <= 0:
        return -np.inf, np.inf
    if root < 0:
        return np.inf, -np.inf
    root = np.sqrt(root)
    return (-qb - root) / (2 * qa), (-qb + root) / (2 * qa)


@cached_njit(nogil=True, error_model="numpy")
def cast(
    s: Any,
    to_local: np.ndarray,
    origin: np.ndarray,
    rectangles: np.ndarray,
    xs: np.ndarray,
    ys: np.ndarray,
    near: float,
    depth: np.ndarray,
    owner: np.ndarray,
) -> None:
    """Nearest hit of every ray (x, y, 1) from ``near`` on: depth and the primitive's index."""
    step = (xs[-1] - xs[0]) / max(xs.size - 1, 1)
    for p in range(s.kind.size):
        left, right, top, bottom = rectangles[p]
        kind, o, a = s.kind[p], origin[p], to_local[p]
        for row in range(top, bottom):
            y, first, last = ys[row], left, right
            if kind > BOX and step > 0:
                low, high = _span(kind, o, a, y)
                if low > high:
                    continue
                first = max(first, int(max(min((low - xs[0]) / step, 1e9), -1e9)))
                last = min(last, int(max(min((high - xs[0]) / step, 1e9), -1e9)) + 2)
            b0, b1, b2 = a[0, 1] * y + a[0, 2], a[1, 1] * y + a[1, 2], a[2, 1] * y + a[2, 2]
            for col in range(first, last):
                x = xs[col]
                d0, d1, d2 = a[0, 0] * x + b0, a[1, 0] * x + b1, a[2, 0] * x + b2
                t = _hit(kind, o[0], o[1], o[2], d0, d1, d2, near)
                if t < depth[row, col] and not (s.cutout[p] >= 0 and _open(s, p, o[0] + t * d0, o[1] + t * d1)):
                    depth[row, col] = t
                    owner[row, col] = p


@cached_njit(nogil=True, error_model="numpy")
def cast_shadows(
    s: Any,
    to_local: np.ndarray,
    origin: np.ndarray,
    rectangles: np.ndarray,
    casters: np.ndarray,
    low: np.ndarray,
    scale: float,
    nearest: np.ndarray,
) -> None:
    """The same along parallel rays."""
    for p in casters:
        left, top, right, bottom = rectangles[p]
        a, o, kind = to_local[p], origin[p], s.kind[p]
        d0, d1, d2 = a[0, 2], a[1, 2], a[2, 2]
        for row in range(top, bottom):
            v = low[1] + row / scale
            for col in range(left, right):
                u = low[0] + col / scale
                o0 = a[0, 0] * u + a[0, 1] * v - o[0]
                o1 = a[1, 0] * u + a[1, 1] * v - o[1]
                o2 = a[2, 0] * u + a[2, 1] * v - o[2]
                t = _hit(kind, o0, o1, o2, d0, d1, d2, -np.inf)
                if t < nearest[row, col] and not (s.cutout[p] >= 0 and _open(s, p, o0 + t * d0, o1 + t * d1)):
                    nearest[row, col] = t


@cached_njit(error_model="numpy")
def _texel(s: Any, texture: int, u: float, v: float, level: int) -> tuple[float, float, float]:
    """Bilinear look-up of one mip level, mirrored at every repeat."""
    level = min(max(level, 0), s.levels - 1)
    size = s.size >> level
    offset = (4 * s.size * s.size - 4 * size * size) // 3
    x = max((1 - abs(u * 0.5 - np.floor(u * 0.5) - 0.5) * 2) * size - 0.5, 0.0)
    y = max((1 - abs(v * 0.5 - np.floor(v * 0.5) - 0.5) * 2) * size - 0.5, 0.0)
    x0, y0 = int(x), int(y)
    fx, fy = x - x0, y - y0
    x1, y1 = min(x0 + 1, size - 1), min(y0 + 1, size - 1)
    a, b = offset + y0 * size, offset + y1 * size
    r = g = bl = 0.0
    for t, w in ((a + x0, (1 - fx) * (1 - fy)), (a + x1, fx * (1 - fy)), (b + x0, (1 - fx) * fy), (b + x1, fx * fy)):
        r += w * s.texels[texture, t, 0]
        g += w * s.texels[texture, t, 1]
        bl += w * s.texels[texture, t, 2]
    return r / 255, g / 255, bl / 255


@cached_njit(error_model="numpy", fastmath=FAST_WITH_INFINITY)
def _normal(kind: int, x: float, y: float, z: float, h0: float, h1: float, h2: float) -> tuple[float, float, float]:
    """Outward unit normal in own axes at (x, y, z), in units of the half size."""
    if kind == QUAD:
        return 0.0, 0.0, 1.0
    if kind == BOX:
        if abs(x) >= abs(y) and abs(x) >= abs(z):
            return np.sign(x), 0.0, 0.0
        return (0.0, np.sign(y), 0.0) if abs(y) >= abs(z) else (0.0, 0.0, np.sign(z))
    if kind == CYLINDER and abs(z) > 0.999:
        return 0.0, 0.0, np.sign(z)
    nx, ny, nz = x / h0, y / h1, 0.0 if kind == CYLINDER else z / h2
    length = max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
    return nx / length, ny / length, nz / length


@cached_njit(error_model="numpy", fastmath=FAST_WITH_INFINITY)
def _lit(g: Any, x: float, y: float, z: float) -> float:
    """Share of the sun that reaches a point: nine taps of the shadow map."""
    f = g.sun_frame
    u = (x * f[0, 0] + y * f[1, 0] + z * f[2, 0] - g.low[0]) * g.scale
    v = (x * f[0, 1] + y * f[1, 1] + z * f[2, 1] - g.low[1]) * g.scale
    along = x * f[0, 2] + y * f[1, 2] + z * f[2, 2] - 2.0 / g.scale
    lit = 0
    for i in range(-1, 2):
        for j in range(-1, 2):
            col, row = int(np.floor(u + j * g.penumbra + 0.5)), int(np.floor(v + i * g.penumbra + 0.5))
            outside = col < 0 or row < 0 or col >= SHADOW_SIZE or row >= SHADOW_SIZE
            if outside or along < g.shadow[row, col]:
                lit += 1
    return lit / 9


@cached_njit(error_model="numpy", fastmath=FAST_WITH_INFINITY)
def _sky(s: Any, g: Any, rx: float, ry: float, rz: float) -> tuple[float, float, float]:
    """Colour of the sky along a ray."""
    length = np.sqrt(rx * rx + ry * ry + rz * rz)
    up = -ry / length
    share = min(max(2 * up, 0.0), 1.0)
    r = g.sky_horizon[0] + (g.sky_top[0] - g.sky_horizon[0]) * share
    gr = g.sky_horizon[1] + (g.sky_top[1] - g.sky_horizon[1]) * share
    b = g.sky_horizon[2] + (g.sky_top[2] - g.sky_horizon[2]) * share
    if g.clouds >= 0:
        flat = length * (0.15 + abs(up)) * 3
        c = _texel(s, g.clouds, rx / flat, rz / flat, 2)
        white = min(max(1.6 * (c[0] + c[1] + c[2]) / 3 - 0.4, 0.0), 1.0)
        r, gr, b = r + (0.95 - r) * white, gr + (0.95 - gr) * white, b + (0.95 - b) * white
    return r, gr, b


@cached_njit(error_model="numpy", fastmath=FAST_WITH_INFINITY)
def _color(s: Any, g: Any, p: int, t: float, ray: np.ndarray, position: np.ndarray, f_px: float) -> tuple[float, float, float]:
    """Light that primitive ``p`` sends along a ray, which it meets at t."""
    rx, ry, rz = ray[0], ray[1], ray[2]
    length = np.sqrt(rx * rx + ry * ry + rz * rz)
    x, y, z = position[0] + t * rx, position[1] + t * ry, position[2] + t * rz
    m, h = s.rotation[p], s.half[p]
    cx, cy, cz = x - s.center[p, 0], y - s.center[p, 1], z - s.center[p, 2]
    l0 = cx * m[0, 0] + cy * m[1, 0] + cz * m[2, 0]
    l1 = cx * m[0, 1] + cy * m[1, 1] + cz * m[2, 1]
    l2 = cx * m[0, 2] + cy * m[1, 2] + cz * m[2, 2]
    n0, n1, n2 = _normal(s.kind[p], l0 / h[0], l1 / h[1], l2 / h[2], h[0], h[1], h[2])
    nx = m[0, 0] * n0 + m[0, 1] * n1 + m[0, 2] * n2
    ny = m[1, 0] * n0 + m[1, 1] * n1 + m[1, 2] * n2
    nz = m[2, 0] * n0 + m[2, 1] * n1 + m[2, 2] * n2
    facing = nx * rx + ny * ry + nz * rz
    if facing > 0:
        nx, ny, nz = -nx, -ny, -nz
    cosine = max(abs(facing) / length, 0.05)

    a0, a1, a2 = abs(n0), abs(n1), abs(n2)
    if a0 >= a1 and a0 >= a2:
        u, v = l1, l2
    elif a1 >= a2:
        u, v = l0, l2
    else:
        u, v = l0, l1
    u, v = u / s.scale_m[p] + 0.37 * p, v / s.scale_m[p] + 0.37 * p
    level = int(np.rint(np.log2(s.size * t / (f_px * s.scale_m[p] * np.sqrt(cosine)))))
    base = _texel(s, s.texture[p], u, v, level)
    fine = _texel(s, (s.texture[p] * 7 + 3) % s.texels.shape[0], u * 6.3, v * 6.3, level + 3)
    contrast = 0.75 + 0.5 * (fine[0] + fine[1] + fine[2]) / 3

    lambert = max(nx * g.to_sun[0] + ny * g.to_sun[1] + nz * g.to_sun[2], 0.0)
    if lambert > 0:
        lambert *= _lit(g, x + 0.01 * nx, y + 0.01 * ny, z + 0.01 * nz)
    shine = 0.0
    if lambert > 0 and s.gloss[p] > 0:
        wx, wy, wz = g.to_sun[0] - rx / length, g.to_sun[1] - ry / length, g.to_sun[2] - rz / length
        w = max(np.sqrt(wx * wx + wy * wy + wz * wz), 1e-12)
        shine = s.gloss[p] * max((nx * wx + ny * wy + nz * wz) / w, 0.0) ** 40
    bx, by, bz = g.lamp_at[0] - x, g.lamp_at[1] - y, g.lamp_at[2] - z
    square = max(bx * bx + by * by + bz * bz, 1e-2)
    near = max(nx * bx + ny * by + nz * bz, 0.0) / square**1.5
    bounce = 0.75 - 0.25 * ny
    r = min(base[0] * contrast, 1.0) ** 2.2 * s.tint[p, 0] * (bounce * g.ambient[0] + g.sun[0] * lambert + g.lamp[0] * near)
    gr = min(base[1] * contrast, 1.0) ** 2.2 * s.tint[p, 1] * (bounce * g.ambient[1] + g.sun[1] * lambert + g.lamp[1] * near)
    b = min(base[2] * contrast, 1.0) ** 2.2 * s.tint[p, 2] * (bounce * g.ambient[2] + g.sun[2] * lambert + g.lamp[2] * near)
    return r + shine * g.sun[0], gr + shine * g.sun[1], b + shine * g.sun[2]


@cached_njit(nogil=True, error_model="numpy", fastmath=FAST_WITH_INFINITY)
def shade(
    s: Any,
    g: Any,
    rotation: np.ndarray,
    position: np.ndarray,
    xs: np.ndarray,
    ys: np.ndarray,
    depth: np.ndarray,
    owner: np.ndarray,
    samples: int,
    f_px: float,
    exposure: float,
    image: np.ndarray,
) -> None:
    """Colours [h, w, 3] from the samples' depth and owner [h·S, w·S]; one sample stands for all that show the same primitive."""
    ray = np.empty(3)
    seen, counts = np.empty(samples * samples, np.int32), np.empty(samples * samples, np.int32)
    where = np.empty((samples * samples, 2), np.int32)
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            found = 0
            for k in range(samples * samples):  # from the centre on, so that it stands for its primitive
                k_ = (k + samples * samples // 2) % (samples * samples)
                row, col = i * samples + k_ // samples, j * samples + k_ % samples
                p, n = owner[row, col], 0
                while n < found and seen[n] != p:
                    n += 1
                if n == found:
                    seen[n], counts[n], where[n, 0], where[n, 1] = p, 0, row, col
                    found += 1
                counts[n] += 1
            r = gr = b = 0.0
            for n in range(found):
                x, y, t = xs[where[n, 1]], ys[where[n, 0]], depth[where[n, 0], where[n, 1]]
                for axis in range(3):
                    ray[axis] = rotation[axis, 0] * x + rotation[axis, 1] * y + rotation[axis, 2]
                c = _sky(s, g, ray[0], ray[1], ray[2]) if seen[n] < 0 else _color(s, g, seen[n], t, ray, position, f_px)
                share = counts[n] / (samples * samples)
                r += share * min(c[0] * exposure, BRIGHTEST)
                gr += share * min(c[1] * exposure, BRIGHTEST)
                b += share * min(c[2] * exposure, BRIGHTEST)
            image[i, j, 0] = min(r, 1.0) ** (1 / 2.2)
            image[i, j, 1] = min(gr, 1.0) ** (1 / 2.2)
            image[i, j, 2] = min(b, 1.0) ** (1 / 2.2)
