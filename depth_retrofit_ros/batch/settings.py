"""How a batch is answered: all that decides what comes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from depth_retrofit_ros.batch.defaults import PART_S
from depth_retrofit_ros.batch.given_camera import GivenCamera
from depth_retrofit_ros.batch.inputs import Item, identity
from depth_retrofit_ros.coarse.sparse_file import sparse_path

DepthFormat = Literal["png", "npz", "bag"]


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """model: what ``loading.load`` takes, by its own names, ``model`` resolved; depth: the format of the results; confidence,
    normals: whether these are written too; sparse: file names of a sensor's depth of photos, see ``coarse.sparse_file``.

    Of bags: the topics as ``BagSource`` takes them; tolerance_s, align: of the reference with the image; frames: of each video and
    bag the first so many; part_s: see ``BagSource.parts``. threads: of each worker, on which the last bits depend.
    """

    model: Mapping[str, Any]
    camera: GivenCamera
    depth: DepthFormat = "png"
    confidence: bool = False
    normals: bool = False
    sparse: Path | None = None
    frames: int | None = None
    image_topic: str | None = None
    info_topic: str | None = None
    depth_topic: str | None = None
    tolerance_s: float = 0.02
    align: Literal["none", "median", "scale-shift"] = "median"
    rectify: str = "auto"
    part_s: float = PART_S
    threads: int = 1

    @property
    def temporal(self) -> bool:
        """Whether frames are held steady by those before them."""
        return bool(self.model.get("temporal"))

    def identity(self, item: Item) -> str:
        """Changes when the input does, or the sensor's depth beside it: see ``inputs.identity``, which says what it raises."""
        told = identity(item)
        if self.sparse is None or item.kind != "image":
            return told
        file = sparse_path(self.sparse, Path(item.uri.name).stem)
        return f"{told} {' '.join(map(str, _stated(file)))}" if file.is_file() else told

    def described(self) -> dict[str, Any]:
        """As JSON, with files as they are now and the program: runs that agree in it make the same results."""
        from depth_retrofit_ros import __version__

        told = json.loads(json.dumps(asdict(self), default=str))
        for name in ("weights", "refiner"):
            value = self.model.get(name)
            if isinstance(value, Path | str) and (path := Path(value)).exists():
                told["model"][name] = [str(path.absolute()), *_stated(path)]
        told["model"].pop("allow_download", None)
        return {"program": __version__, **told}


def _stated(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
