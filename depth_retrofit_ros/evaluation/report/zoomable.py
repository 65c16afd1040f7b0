"""Pictures of a page that a click enlarges to the whole window: no script, each embedded once.

Those of a group are the choices of one radio button, so that the arrow keys go through them while one is large, in its place: how
two depth maps differ is seen best that way.
"""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import cv2
import numpy as np

NOTE = "A click enlarges a picture, and one more closes it; meanwhile the arrow keys go through the others of its group."
STYLE = """
.zoom { position: relative } .zoom > input, .zoom figure > input { position: absolute; opacity: 0; width: 1px; height: 1px }
.zoom .open { display: block; cursor: zoom-in } .zoom .close { display: none } .zoom .pixels { image-rendering: pixelated }
.zoom input:focus-visible ~ .open img { outline: 3px solid #3366cc }
.zoom input:checked ~ .open { position: fixed; inset: 0; z-index: 1; background: #111 }
.zoom input:checked ~ .open img { width: 100vw; height: 100vh; max-width: none; object-fit: contain; outline: none }
.zoom input:checked ~ .close { display: block; position: fixed; inset: 0; z-index: 3; cursor: zoom-out }
.zoom input:checked ~ figcaption { position: fixed; left: 0; bottom: 0; z-index: 2; padding: .2em .6em; background: #111 }
.zoom input:checked ~ figcaption { color: #eee }
"""


class Gallery:
    """A group of pictures. name: of the group, another one for each of a page."""

    def __init__(self, name: str) -> None:
        self._name = escape(name, quote=True)
        self._count = 0

    def photo(self, title: str, picture: np.ndarray, shown_px: int, most_px: int, quality: int) -> str:
        """``uint8 [H, W, 3]`` RGB, ``shown_px`` wide until it is enlarged; embedded at most ``most_px`` wide, as JPEG."""
        height, width = picture.shape[:2]
        if width > most_px:
            size = most_px, max(1, round(height * most_px / width))
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
        source = _encoded(picture, "jpeg", [cv2.IMWRITE_JPEG_QUALITY, quality])
        return self._figure(title, source, _size(width, height, shown_px))

    def pixels(self, title: str, picture: np.ndarray, shown_px: int) -> str:
        """As ``photo``, for a few pixels that are to be seen as they are: each is a square."""
        height, width = picture.shape[:2]
        return self._figure(title, _encoded(picture, "png", []), f'class="pixels" {_size(width, height, shown_px)}')

    def file(self, title: str, path: Path) -> str:
        """A JPEG or PNG as it is stored, as wide as the page has room. Raises OSError."""
        return self._figure(title, embedded("image/jpeg" if path.suffix == ".jpg" else "image/png", path.read_bytes()))

    def html(self, content: str) -> str:
        """The group, around its figures and whatever is between them."""
        none = f'<input type="radio" name="{self._name}" id="{self._name}:none" checked aria-label="none enlarged">'
        return f'<div class="zoom">{none}{content}</div>'

    def _figure(self, title: str, source: str, attributes: str = "") -> str:
        self._count += 1
        told, number = escape(title, quote=True), f"{self._name}:{self._count}"
        image = f'<img {attributes} alt="{told}" src="{source}">'
        return (
            f'<figure><input type="radio" name="{self._name}" id="{number}" aria-label="enlarge {told}">'
            f'<label class="open" for="{number}">{image}</label>'
            f'<figcaption>{told}</figcaption><label class="close" for="{self._name}:none"></label></figure>'
        )


def _size(width: int, height: int, shown_px: int) -> str:
    """Of an image of ``width`` x ``height`` px, before it is enlarged."""
    return f'width="{shown_px}" height="{max(1, round(height * shown_px / width))}"'


def _encoded(picture: np.ndarray, kind: str, options: list[int]) -> str:
    """As the address of an image."""
    ok, data = cv2.imencode(f".{kind}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    assert ok
    return embedded(f"image/{kind}", data.tobytes())


def embedded(kind: str, data: bytes) -> str:
    """The address of a file that the page itself holds, such as of kind ``image/png``."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
