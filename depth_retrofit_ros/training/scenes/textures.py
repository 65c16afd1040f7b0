"""A stack of tileable-enough colour textures with mip levels, and cut-out masks (fences, foliage, lattices)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from depth_retrofit_ros.errors import ImageError

SIZE = 512
LEVELS = 9  # 512 … 2


@dataclass(frozen=True, slots=True)
class TextureStack:
    """texels: uint8 [T, sum of level sizes², 3], levels finest first; masks: float32 [M, SIZE, SIZE] in 0…1 (solid above 0.5).

    The first ``plain`` textures are calm (plaster, noise, wood): what walls and floors are mostly made of.
    """

    texels: torch.Tensor
    masks: torch.Tensor
    plain: int

    @property
    def count(self) -> int:
        """Number of colour textures."""
        return self.texels.shape[0]

    def to(self, device: torch.device) -> TextureStack:
        """The same stack on another device."""
        return TextureStack(self.texels.to(device), self.masks.to(device), self.plain)

    def sample(self, index: torch.Tensor, uv: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """Bilinear look-up. index int64 [N]; uv [N, 2] in repeats; level int64 [N] (0 = finest) → float32 [N, 3] in 0…1."""
        level = level.clamp(0, LEVELS - 1)
        size = torch.full_like(level, SIZE) >> level
        # Offset of a level in the packed chain: the sum of the squared sizes of the finer ones.
        offset = (4 * SIZE * SIZE - 4 * size * size) // 3
        # Mirrored repeat: a photograph then tiles without seams.
        # A texel's value belongs to its centre, at every level: otherwise the look would move with the resolution.
        xy = ((1 - (uv * 0.5 - (uv * 0.5).floor() - 0.5).abs() * 2) * size[:, None] - 0.5).clamp_min(0)
        x0, fx = xy[:, 0].long(), xy[:, 0].frac()
        y0, fy = xy[:, 1].long(), xy[:, 1].frac()
        flat = self.texels.view(-1, 3)
        base = index * self.texels.shape[1] + offset
        out = torch.zeros(index.numel(), 3, device=uv.device)
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            weight = (fx if dx else 1 - fx) * (fy if dy else 1 - fy)
            texel = base + torch.minimum(y0 + dy, size - 1) * size + torch.minimum(x0 + dx, size - 1)
            out += weight[:, None] * flat[texel].float()
        return out.div_(255)

    def solid(self, mask: int, uv: torch.Tensor) -> torch.Tensor:
        """Whether the cut-out ``mask`` is solid at uv [..., 2] (repeats) → bool [...]."""
        image = self.masks[mask]
        xy = ((uv - uv.floor()) * SIZE).long().clamp_(0, SIZE - 1)
        return image[xy[..., 1], xy[..., 0]] > 0.5


def build_textures(
    seed: int, count: int = 96, photos: Path | None = None, images: Sequence[np.ndarray] = (), share: float = 0.42
) -> TextureStack:
    """``count`` textures; photos: a folder of images, images: more of them ``uint8 [h, w, 3]``, whose random crops make a ``share``
    of all, at most 0.6."""
    rng = np.random.default_rng(seed)
    sources = [*_load_photos(photos), *images]
    calm = (_plaster, _plaster, _noise, _wood)
    busy = (_noise, _stripes, _checker, _bricks, _dots, _glyphs, _wood)
    plain = int(0.4 * count)
    textures = [calm[rng.integers(len(calm))](rng) for _ in range(plain)]
    for _ in range(count - plain):
        photo = sources and rng.random() < share / 0.6
        textures.append(_photo_crop(rng, sources) if photo else busy[rng.integers(len(busy))](rng))
    masks = [maker(rng) for maker in (_lattice, _lattice, _bars, _mesh, leaf_mask, leaf_mask, leaf_mask, branch_mask)]
    return TextureStack(torch.from_numpy(np.stack([_mip_chain(t) for t in textures])), torch.from_numpy(np.stack(masks)), plain)


def _mip_chain(texture: np.ndarray) -> np.ndarray:
    image = (np.clip(texture, 0, 1) * 255).astype(np.uint8)
    levels = [image.reshape(-1, 3)]
    for _ in range(LEVELS - 1):
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
        levels.append(image.reshape(-1, 3))
    return np.concatenate(levels)


def _load_photos(folder: Path | None) -> list[np.ndarray]:
    """RGB photos of a folder, at most 2048 pixels long. Raises ImageError where it holds none."""
    images: list[np.ndarray] = []
    if folder is None:
        return images
    check_photos(folder)
    for image in _images(folder):
        scale = 2048 / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
        images.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
    return images


def check_photos(folder: Path) -> None:
    """Raises ImageError where a folder holds no image."""
    if next(_images(folder), None) is None:
        raise ImageError(f"no images in {folder}: give a folder of photographs, or none for procedural textures only")


def _images(folder: Path) -> Iterator[np.ndarray]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is not None:
            yield image


def _photo_crop(rng: np.random.Generator, sources: Sequence[np.ndarray]) -> np.ndarray:
    image = sources[int(rng.integers(len(sources)))]
    side = int(min(image.shape[:2]) * rng.uniform(0.15, 0.8))
    y, x = rng.integers(image.shape[0] - side + 1), rng.integers(image.shape[1] - side + 1)
    crop = cv2.resize(image[y : y + side, x : x + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return crop[:, ::-1] if rng.random() < 0.5 else crop


def _color(rng: np.random.Generator) -> np.ndarray:
    """A colour of natural saturation: mostly greyish, sometimes vivid."""
    gray = rng.uniform(0.08, 0.95)
    return np.clip(gray + rng.normal(0, rng.choice([0.02, 0.05, 0.1, 0.25]), 3), 0.02, 0.98).astype(np.float32)


def fractal_noise(rng: np.random.Generator, exponent: float) -> np.ndarray:
    """Tileable 1/f^exponent noise, about 0 ± 1, [SIZE, SIZE]."""
    f = np.fft.fftfreq(SIZE) * SIZE
    radius = np.hypot(f[:, None], f[None])
    radius[0, 0] = 1
    spectrum = np.fft.fft2(rng.standard_normal((SIZE, SIZE))) / radius**exponent
    spectrum[0, 0] = 0
    noise = np.fft.ifft2(spectrum).real
    return (noise / noise.std()).astype(np.float32)


def _blend(mask: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return mask[..., None] * a + (1 - mask[..., None]) * b


def _noise(rng: np.random.Generator) -> np.ndarray:
    mix = 1 / (1 + np.exp(-rng.uniform(0.5, 4) * fractal_noise(rng, rng.uniform(0.6, 1.8))))
    return _blend(mix, _color(rng), _color(rng))


def _plaster(rng: np.random.Generator) -> np.ndarray:
    return _color(rng) + rng.uniform(0, 0.05) * fractal_noise(rng, rng.uniform(0.3, 1.2))[..., None]


def _grid() -> tuple[np.ndarray, np.ndarray]:
    axis = np.arange(SIZE, dtype=np.float32) / SIZE
    return np.meshgrid(axis, axis)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    a, b = rng.integers(-12, 13, 2)
    wave = np.sin(2 * np.pi * (a * x + b * y) + rng.uniform(0, 1.5) * fractal_noise(rng, 1.8))
    bright = (wave > rng.uniform(-0.6, 0.6)).astype(np.float32)
    return _blend(bright, _color(rng), _color(rng)) + 0.02 * fractal_noise(rng, 0.8)[..., None]


def _checker(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    n = rng.integers(1, 9)
    return _blend(((np.floor(x * 2 * n) + np.floor(y * 2 * n)) % 2).astype(np.float32), _color(rng), _color(rng))


def _bricks(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    rows = 2 * rng.integers(2, 9)
    row = np.floor(y * rows)
    u = x * rows / rng.integers(2, 4) + 0.5 * (row % 2)
    gap = rng.uniform(0.03, 0.12)
    mortar = ((u % 1 < gap / 2) | ((y * rows) % 1 < gap)).astype(np.float32)
    shade = rng.normal(1, 0.12, (64, 64)).astype(np.float32)[row.astype(int) % 64, np.floor(u).astype(int) % 64]
    return _blend(mortar, _color(rng), _color(rng) * 1.0) * shade[..., None] + 0.03 * fractal_noise(rng, 0.7)[..., None]


def _dots(rng: np.random.Generator) -> np.ndarray:
    image = np.tile(_color(rng), (SIZE, SIZE, 1)).astype(np.float32)
    for _ in range(rng.integers(10, 150)):
        center = tuple(int(v) for v in rng.integers(0, SIZE, 2))
        cv2.circle(image, center, int(rng.integers(3, 60)), _color(rng).tolist(), -1, cv2.LINE_AA)
    return image


def _glyphs(rng: np.random.Generator) -> np.ndarray:
    """Posters and pages: lines of text and filled blocks."""
    image = np.tile((255 * _color(rng)).astype(np.uint8), (SIZE, SIZE, 1))
    letters = list("ABCDEFGHJKLMNPRSTUVWXYZabcdefghkmnprstuvwxyz0123456789")
    ink = (255 * _color(rng)).tolist()
    y = 0
    while y < SIZE:
        height = int(rng.integers(12, 90))
        y += height
        if rng.random() < 0.25:
            x0, x1 = sorted(int(v) for v in rng.integers(0, SIZE, 2))
            cv2.rectangle(image, (x0, y - height), (x1, y), (255 * _color(rng)).tolist(), -1)
        text = "".join(rng.choice(letters, rng.integers(4, 40)))
        at = (int(rng.integers(-20, 60)), y)
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, height / 30, ink, max(1, height // 12), cv2.LINE_AA)
    return image.astype(np.float32) / 255


def _wood(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    rings = np.sin(2 * np.pi * rng.integers(4, 20) * x + rng.uniform(1, 5) * fractal_noise(rng, 2.2) + 0 * y)
    return _blend(0.5 + 0.5 * rings, _color(rng), _color(rng)) + 0.02 * fractal_noise(rng, 0.6)[..., None]


def _lattice(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    n, thick = rng.integers(2, 10), rng.uniform(0.04, 0.2)
    return (((x * n) % 1 < thick) | ((y * n) % 1 < thick)).astype(np.float32)


def _bars(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    n, thick = rng.integers(4, 16), rng.uniform(0.08, 0.35)
    return (((x * n) % 1 < thick) | (y < 0.03) | (y > 0.97)).astype(np.float32)


def _mesh(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    n, thick = rng.integers(6, 16), rng.uniform(0.06, 0.14)
    return ((((x + y) * n) % 1 < thick) | (((x - y) * n) % 1 < thick)).astype(np.float32)


def leaf_mask(rng: np.random.Generator) -> np.ndarray:
    image = np.zeros((SIZE, SIZE), np.float32)
    size = rng.uniform(8, 40)
    for _ in range(int(rng.uniform(0.3, 1.0) * 0.6 * (SIZE / size) ** 2)):
        center = tuple(int(v) for v in rng.integers(0, SIZE, 2))
        axes = (max(2, int(size * rng.uniform(0.5, 1.2))), max(1, int(size * rng.uniform(0.15, 0.5))))
        cv2.ellipse(image, center, axes, float(rng.uniform(0, 360)), 0, 360, 1.0, -1)
    return image


def branch_mask(rng: np.random.Generator) -> np.ndarray:
    image = np.zeros((SIZE, SIZE), np.float32)
    stack = [(rng.uniform(0.3, 0.7) * SIZE, float(SIZE), -np.pi / 2, 90.0, 14.0)]
    while stack:
        x, y, angle, length, width = stack.pop()
        x1, y1 = x + length * np.cos(angle), y + length * np.sin(angle)
        cv2.line(image, (int(x), int(y)), (int(x1), int(y1)), 1.0, max(1, int(width)))
        if width > 1.2:
            for _ in range(rng.integers(2, 4)):
                stack.append((x1, y1, angle + rng.normal(0, 0.5), length * rng.uniform(0.6, 0.95), width * rng.uniform(0.5, 0.75)))
    return image
