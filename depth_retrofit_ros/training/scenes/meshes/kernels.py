"""Compiled loops of the ray tracer: what a ray hit, how it looks, where light rays go, and light between its samples.

A triangle soup: points, normals ``float32 [T, 3, 3]``, uv ``[T, 3, 2]``. A hit: prim (−1: none) and the triangle's u, v.
Textures lie in one ``uint8`` buffer, RGBA, mip level after mip level; table ``int64 [K, 3]``: offset, log2 width, log2 height.
"""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.device.kernel_cache import FAST_WITH_INFINITY, cached_njit


@cached_njit(inline="always")
def _texel(texels, linear, offset, wide, high, x, y):  # type: ignore[no-untyped-def]
    at = offset + 4 * ((y & (high - 1)) * wide + (x & (wide - 1)))
    return linear[texels[at]], linear[texels[at + 1]], linear[texels[at + 2]], texels[at + 3]


@cached_njit(fastmath=FAST_WITH_INFINITY)
def _sample(texels, linear, table, k, u, v, level):  # type: ignore[no-untyped-def]
    """Linear RGB and alpha 0…1 at (u, v) in repeats, v up; bilinear in one mip level."""
    offset, log_w, log_h = table[k, 0], table[k, 1], table[k, 2]
    for _ in range(min(level, max(log_w, log_h))):
        offset += 4 << (log_w + log_h)
        log_w, log_h = max(log_w - 1, 0), max(log_h - 1, 0)
    wide, high = 1 << log_w, 1 << log_h
    x, y = (u - np.floor(u)) * wide - 0.5, (1 - (v - np.floor(v))) * high - 0.5
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - x0, y - y0
    a, b = _texel(texels, linear, offset, wide, high, x0, y0), _texel(texels, linear, offset, wide, high, x0 + 1, y0)
    c, d = _texel(texels, linear, offset, wide, high, x0, y0 + 1), _texel(texels, linear, offset, wide, high, x0 + 1, y0 + 1)
    wa, wb, wc, wd = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    return (
        wa * a[0] + wb * b[0] + wc * c[0] + wd * d[0],
        wa * a[1] + wb * b[1] + wc * c[1] + wd * d[1],
        wa * a[2] + wb * b[2] + wc * c[2] + wd * d[2],
        (wa * a[3] + wb * b[3] + wc * c[3] + wd * d[3]) / 255,
    )


@cached_njit(inline="always")
def _hash(x, y, salt):  # type: ignore[no-untyped-def]
    h = (x * 374761393 + y * 668265263 + salt * 2246822519) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * 2246822519) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 3266489917) & 0xFFFFFFFF
    return (h ^ (h >> 16)) / 4294967296.0


@cached_njit(fastmath=FAST_WITH_INFINITY)
def _noise(x, y, z):  # type: ignore[no-untyped-def]
    """Value noise 0…1 of a lattice of 1."""
    x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - x0, y - y0, z - z0
    fx, fy, fz = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy), fz * fz * (3 - 2 * fz)
    total = 0.0
    for i in range(2):
        for j in range(2):
            for k in range(2):
                w = (fx if i else 1 - fx) * (fy if j else 1 - fy) * (fz if k else 1 - fz)
                total += w * _hash(x0 + i, y0 + j, z0 + k)
    return total


@cached_njit(fastmath=FAST_WITH_INFINITY)
def holes(prim, u, v, uv, surface, texture, has_holes, texels, linear, table):  # type: ignore[no-untyped-def]
    """bool [N]: hits on a texel that is none (alpha below a half)."""
    found = np.zeros(prim.shape[0], np.bool_)
    for n in range(prim.shape[0]):
        t = prim[n]
        if t >= 0 and has_holes[surface[t]]:
            b, c = u[n], v[n]
            a = 1 - b - c
            s = a * uv[t, 0, 0] + b * uv[t, 1, 0] + c * uv[t, 2, 0]
            r = a * uv[t, 0, 1] + b * uv[t, 1, 1] + c * uv[t, 2, 1]
            found[n] = _sample(texels, linear, table, texture[surface[t]], s, r, 0)[3] < 0.5
    return found


@cached_njit(fastmath=FAST_WITH_INFINITY)
def surfaces(  # type: ignore[no-untyped-def]
    prim, u, v, direction, eye, pixel, points, normals, uv, surface, tint, texture, texels, linear, table, grain
):
    """Point, shading normal towards the viewer, and linear albedo of each hit, [N, 3] each.

    direction [N, 3] of length such that t = 1 is one metre of depth; pixel: radians of one pixel; grain [M]: strength of the fine
    unevenness that no texture has.
    """
    count = prim.shape[0]
    point = np.zeros((count, 3), np.float32)
    normal = np.zeros((count, 3), np.float32)
    albedo = np.zeros((count, 3), np.float32)
    depth = np.full(count, np.inf, np.float32)
    e1, e2, p, n_, g = np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3)
    for n in range(count):
        t = prim[n]
        if t < 0:
            continue
        b, c = np.float64(u[n]), np.float64(v[n])
        a = 1 - b - c
        for i in range(3):
            e1[i] = np.float64(points[t, 1, i]) - points[t, 0, i]
            e2[i] = np.float64(points[t, 2, i]) - points[t, 0, i]
            n_[i] = a * normals[t, 0, i] + b * normals[t, 1, i] + c * normals[t, 2, i]
        g[0], g[1], g[2] = e1[1] * e2[2] - e1[2] * e2[1], e1[2] * e2[0] - e1[0] * e2[2], e1[0] * e2[1] - e1[1] * e2[0]
        length = np.sqrt(g[0] ** 2 + g[1] ** 2 + g[2] ** 2) + 1e-20
        # The ray against the triangle's plane in double precision: exact where the library's single precision is not.
        below = g[0] * direction[n, 0] + g[1] * direction[n, 1] + g[2] * direction[n, 2]
        above = 0.0
        for i in range(3):
            above += g[i] * (points[t, 0, i] - eye[i])
        z = above / below if abs(below) > 1e-12 * length else 0.0
        far = np.sqrt(direction[n, 0] ** 2 + direction[n, 1] ** 2 + direction[n, 2] ** 2)
        side = -1.0 if below > 0 else 1.0
        facing = abs(below) / (length * far)
        norm = np.sqrt(n_[0] ** 2 + n_[1] ** 2 + n_[2] ** 2) + 1e-12
        agree = side if n_[0] * g[0] + n_[1] * g[1] + n_[2] * g[2] > 0 else -side
        for i in range(3):
            p[i] = eye[i] + z * direction[n, i]
            point[n, i] = p[i]
            normal[n, i] = agree * n_[i] / norm
        depth[n] = z
        m = surface[t]
        k = texture[m]
        red, green, blue = tint[m, 0], tint[m, 1], tint[m, 2]
        footprint = z * far * pixel  # m across the ray
        if k >= 0:
            d1u, d1v = uv[t, 1, 0] - uv[t, 0, 0], uv[t, 1, 1] - uv[t, 0, 1]
            d2u, d2v = uv[t, 2, 0] - uv[t, 0, 0], uv[t, 2, 1] - uv[t, 0, 1]
            area = abs(d1u * d2v - d1v * d2u)
            texels_across = np.sqrt(area / length * np.float64(1 << (table[k, 1] + table[k, 2]))) * footprint
            stretch = min(1 / max(facing, 0.02), 6.0)
            taps = max(1, int(stretch + 0.5))
            level = max(0, int(np.floor(np.log2(max(texels_across * max(1.0, 1 / (max(facing, 0.02) * 6.0)), 1e-6)) + 0.5)))
            # Along the surface, away from the viewer: the long axis of the pixel's footprint.
            along_u, along_v = 0.0, 0.0
            if taps > 1:
                w1, w2, s11, s12, s22 = 0.0, 0.0, 0.0, 0.0, 0.0
                for i in range(3):
                    w = direction[n, i] / far - below / far / length * g[i] / length
                    w1 += w * e1[i]
                    w2 += w * e2[i]
                    s11 += e1[i] * e1[i]
                    s12 += e1[i] * e2[i]
                    s22 += e2[i] * e2[i]
                det = s11 * s22 - s12 * s12
                if det > 1e-20:
                    x, y = (s22 * w1 - s12 * w2) / det, (s11 * w2 - s12 * w1) / det
                    scale = footprint * stretch
                    along_u, along_v = scale * (x * d1u + y * d2u), scale * (x * d1v + y * d2v)
            s = a * uv[t, 0, 0] + b * uv[t, 1, 0] + c * uv[t, 2, 0]
            r = a * uv[t, 0, 1] + b * uv[t, 1, 1] + c * uv[t, 2, 1]
            sr, sg, sb = 0.0, 0.0, 0.0
            for i in range(taps):
                o = (i + 0.5) / taps - 0.5
                texel = _sample(texels, linear, table, k, s + o * along_u, r + o * along_v, level)
                sr, sg, sb = sr + texel[0], sg + texel[1], sb + texel[2]
            red, green, blue = red * sr / taps, green * sg / taps, blue * sb / taps
        strength = grain[m]
        if strength > 0:
            size = 0.0015
            shade = 1.0
            for _ in range(3):  # octaves of 1.5 to 24 mm that a pixel resolves
                if size > 1.5 * footprint / max(facing, 0.1):
                    shade += strength * (_noise(p[0] / size, p[1] / size, p[2] / size) - 0.5)
                size *= 4
            red, green, blue = red * shade, green * shade, blue * shade
        albedo[n, 0], albedo[n, 1], albedo[n, 2] = min(red, 0.95), min(green, 0.95), min(blue, 0.95)
    return point, normal, albedo, depth


@cached_njit(fastmath=FAST_WITH_INFINITY)
def light_rays(point, normal, x, y, kind, place, first, second, color, reach):  # type: ignore[no-untyped-def]
    """Rays from points [N, 3] at pixels (x, y) to every light that they may see.

    kind [L]: 0 sphere (place: centre, first[0]: radius), 1 rectangle (place: centre, first, second: half sides;
    it shines against second × first), 2 sun (place:
    unit direction to it, first[0]: radius of its disc in radians). Returns owner [R], origin [R, 3], ray [R, 3] (t = 1 at the
    light), share [R, 3]: the irradiance that arrives if nothing is between.
    """
    count, lights = point.shape[0], kind.shape[0]
    owner = np.empty(count * lights, np.int64)
    origin = np.empty((count * lights, 3), np.float32)
    ray = np.empty((count * lights, 3), np.float32)
    share = np.empty((count * lights, 3), np.float32)
    d = np.zeros(3)
    rays = 0
    for n in range(count):
        for k in range(lights):
            cell = (x[n] & 3) + 4 * (y[n] & 3)
            cell = (cell * 7 + 3 * k) & 15
            # A stratum of its own for each of 4 × 4 neighbours, and little chance in it: banding is fainter than noise.
            a = ((cell & 3) + 0.35 + 0.3 * _hash(x[n], y[n], 2 * k)) / 4
            b = ((cell >> 2) + 0.35 + 0.3 * _hash(x[n], y[n], 2 * k + 1)) / 4
            factor = 1.0
            if kind[k] == 1:
                cx = second[k, 1] * first[k, 2] - second[k, 2] * first[k, 1]
                cy = second[k, 2] * first[k, 0] - second[k, 0] * first[k, 2]
                cz = second[k, 0] * first[k, 1] - second[k, 1] * first[k, 0]
                for i in range(3):
                    d[i] = place[k, i] + (2 * a - 1) * first[k, i] + (2 * b - 1) * second[k, i] - point[n, i]
                square = d[0] ** 2 + d[1] ** 2 + d[2] ** 2
                # One-sided, and near it as dim as at half a metre: a sample so close would stand out.
                factor = 4 * max(0.0, d[0] * cx + d[1] * cy + d[2] * cz) / np.sqrt(square) / max(square, 0.25) / np.pi
            else:
                up = 2 * a - 1
                around = 2 * np.pi * b
                flat = np.sqrt(max(0.0, 1 - up * up))
                ball = (flat * np.cos(around), up, flat * np.sin(around))
                for i in range(3):
                    d[i] = place[k, i] + first[k, 0] * ball[i]
                if kind[k] == 2:
                    for i in range(3):
                        d[i] *= reach
                    square = 1.0
                else:
                    for i in range(3):
                        d[i] -= point[n, i]
                    square = max(d[0] ** 2 + d[1] ** 2 + d[2] ** 2, 0.04)
                    factor = 1 / square
            length = np.sqrt(d[0] ** 2 + d[1] ** 2 + d[2] ** 2) + 1e-9
            cosine = (d[0] * normal[n, 0] + d[1] * normal[n, 1] + d[2] * normal[n, 2]) / length
            factor *= cosine
            if factor * (color[k, 0] + color[k, 1] + color[k, 2]) < 1e-3:
                continue
            owner[rays] = n
            for i in range(3):
                origin[rays, i] = point[n, i] + 2e-3 * normal[n, i]
                ray[rays, i] = d[i]
                share[rays, i] = factor * color[k, i]
            rays += 1
    return owner[:rays], origin[:rays], ray[:rays], share[:rays]


@cached_njit(fastmath=FAST_WITH_INFINITY)
def sky_rays(point, normal, x, y, samples, reach):  # type: ignore[no-untyped-def]
    """``samples`` rays into the cosine-weighted hemisphere of each point: origin, ray [N · samples, 3], ``reach`` m long."""
    count = point.shape[0]
    origin = np.empty((count * samples, 3), np.float32)
    ray = np.empty((count * samples, 3), np.float32)
    for n in range(count):
        nx, ny, nz = normal[n, 0], normal[n, 1], normal[n, 2]
        for k in range(samples):
            cell = (((x[n] & 3) + 4 * (y[n] & 3)) * 7 + k * 16 // samples) & 15
            a = ((cell & 3) + 0.35 + 0.3 * _hash(x[n], y[n], 101 + 2 * k)) / 4
            b = ((cell >> 2) + 0.35 + 0.3 * _hash(x[n], y[n], 102 + 2 * k)) / 4
            up, around = 2 * a - 1, 2 * np.pi * b
            flat = np.sqrt(max(0.0, 1 - up * up))
            dx, dy, dz = nx + flat * np.cos(around), ny + up, nz + flat * np.sin(around)  # a sphere that touches the surface
            length = np.sqrt(dx * dx + dy * dy + dz * dz) + 1e-6
            at = n * samples + k
            ray[at, 0], ray[at, 1], ray[at, 2] = reach * dx / length, reach * dy / length, reach * dz / length
            for i in range(3):
                origin[at, i] = point[n, i] + 2e-3 * normal[n, i]
    return origin, ray


@cached_njit(fastmath=FAST_WITH_INFINITY)
def between(point, normal, depth, x, y, grid_point, grid_normal, grid_light, grid_hit, x0, y0, tolerance):  # type: ignore[no-untyped-def]
    """Light at points [N, 3] of pixels (x, y) from samples on every second pixel, grid arrays [h, w, …], of the same surface.

    (x0, y0): pixel of the first sample. Returns light [N, 3] and weight [N]; where the weight is 0 no sample is of the surface.
    """
    count = point.shape[0]
    high, wide = grid_hit.shape
    light = np.zeros((count, 3), np.float32)
    weight = np.zeros(count, np.float32)
    for n in range(count):
        if not np.isfinite(depth[n]):
            continue
        gx, gy = (x[n] - x0) / 2, (y[n] - y0) / 2
        scale = 1 / (tolerance * depth[n] + 1e-3)
        total, r, g, b = 0.0, 0.0, 0.0, 0.0
        i0, j0 = int(np.floor(gx - 1.5)), int(np.floor(gy - 1.5))
        for j in range(max(0, j0), min(high, j0 + 5)):
            wy = min(1.0, 2.5 - abs(j - gy))
            for i in range(max(0, i0), min(wide, i0 + 5)):
                if not grid_hit[j, i]:
                    continue
                alike, off = 0.0, 0.0
                for c in range(3):
                    alike += normal[n, c] * grid_normal[j, i, c]
                    off += normal[n, c] * (point[n, c] - grid_point[j, i, c])
                if alike < 0.7:
                    continue
                off *= scale
                # A box of 4 × 4 samples, one of each stratum: their pattern cancels.
                w = max(0.0, min(1.0, 2.5 - abs(i - gx)) * wy) * (alike - 0.65) / (1 + off * off * off * off)
                total += w
                r += w * grid_light[j, i, 0]
                g += w * grid_light[j, i, 1]
                b += w * grid_light[j, i, 2]
        if total > 0.05:
            weight[n] = total
            light[n, 0], light[n, 1], light[n, 2] = r / total, g / total, b / total
    return light, weight
