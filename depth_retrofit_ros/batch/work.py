"""What a worker of a batch does: it holds one method, and answers images, videos and bags with it."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from depth_retrofit_ros.batch.bags import answer_bag, divide
from depth_retrofit_ros.batch.copies import Copies
from depth_retrofit_ros.batch.inputs import Item
from depth_retrofit_ros.batch.outputs import Outputs, described
from depth_retrofit_ros.batch.photos import OpenedPhoto, answer_photo, open_photo
from depth_retrofit_ros.batch.place import STAGING, Place
from depth_retrofit_ros.batch.settings import BatchSettings
from depth_retrofit_ros.batch.tasks import Done, Row, Task
from depth_retrofit_ros.batch.uris import Uri
from depth_retrofit_ros.batch.videos import answered_frames
from depth_retrofit_ros.coarse.engines.assign import engine_of
from depth_retrofit_ros.errors import BagError, DepthRetrofitError, ImageError, SetupError, StorageError
from depth_retrofit_ros.io.video_reader import VideoReader
from depth_retrofit_ros.loading import load
from depth_retrofit_ros.retrofit import Retrofit

UNDECODED = "it cannot be decoded"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The input as files of this machine, what it was then, and an image that is read."""

    path: Path
    identity: str
    photo: OpenedPhoto | None = None


class BatchWork:
    """See ``engine.Work``. lead: the staging folder's name of who leads the run. Raises DepthRetrofitError where the method cannot
    be loaded, or there is nowhere to write to that who leads would see."""

    def __init__(self, out: Uri, settings: BatchSettings, lead: str) -> None:
        if out.local is not None and not (out.local / STAGING / lead).is_dir():
            raise SetupError(
                f"a worker's {out} is not that of who leads the run: give a remote --out, or one that all machines share"
            )
        self._settings = settings
        self._retrofit = load(**settings.model)
        self._place = Place(out).__enter__()
        self._folder = Path(tempfile.mkdtemp(prefix="depth_retrofit_inputs_"))
        self._copies = Copies(self._folder)

    def close(self) -> None:
        self._place.__exit__()
        shutil.rmtree(self._folder, ignore_errors=True)

    def prepare(self, task: Task) -> Prepared:
        known = self._settings.identity(task.item)
        if task.identity not in (None, known):
            raise BagError(f"{task.item.uri} changed while it was read: --resume does all of it again")
        path = task.item.uri.local or self._copies.hold(task.item, known)
        try:
            is_photo = task.what == "answer" and task.item.kind == "image"
            return Prepared(path, known, open_photo(path, self._settings.camera, self._settings.sparse) if is_photo else None)
        except BaseException:
            self._release(task.item, known)
            raise

    def run(self, task: Task, prepared: Prepared) -> Row:
        outputs = Outputs(self._place, self._settings)
        try:
            return self._done(task, prepared, outputs)
        except Exception:
            with suppress(DepthRetrofitError):  # what cannot be removed now is removed by who leads
                for file in outputs.files:
                    self._place.remove(file.name)
            raise
        finally:
            self._release(task.item, prepared.identity)

    def _release(self, item: Item, known: str) -> None:
        if item.uri.local is None:
            self._copies.release(item, known)

    def _done(self, task: Task, prepared: Prepared, outputs: Outputs) -> Row:
        begun_s = time.monotonic()
        done = Done(str(task.item.uri), task.item.kind, prepared.identity, task.number)
        if task.what == "divide":
            done.parts = divide(prepared.path, self._settings)
        else:
            self._answer(task, prepared, outputs, done)
        if self._settings.identity(task.item) != prepared.identity:
            raise StorageError(f"{task.item.uri} changed while it was read")
        done.seconds = round(time.monotonic() - begun_s, 3)
        told = asdict(done)
        self._place.publish_text(_json(told), task.seal)
        return told

    def _answer(self, task: Task, prepared: Prepared, outputs: Outputs, done: Done) -> None:
        # Networks are shared; buffers, and what is remembered of the frames before, are each input's own.
        retrofit = self._retrofit.for_another_camera(self._retrofit.budget, self._retrofit.trust_scale)
        if prepared.photo is not None:
            self._answer_photo(task.item, prepared.path, prepared.photo, retrofit, outputs, done)
        elif task.item.kind == "video":
            self._answer_video(task.item, prepared.path, retrofit, outputs, done)
        elif task.item.kind == "bag":
            answer_bag(prepared.path, task, retrofit, outputs, self._place.staging, self._settings, done)
        else:
            raise ImageError(f"{task.item.uri} is neither an image, a video nor a bag, by its name: rename it, or leave it out")
        done.files = [list(file) for file in outputs.files]
        engine, backend = engine_of(retrofit.coarse), retrofit.refiner.backend_name
        done.facts = {"model": retrofit.coarse.name, "coarse_engine": engine, "sparse_backend": backend}

    def _answer_photo(self, item: Item, path: Path, photo: OpenedPhoto, retrofit: Retrofit, outputs: Outputs, done: Done) -> None:
        begun_s = time.perf_counter()
        result = answer_photo(path, photo, retrofit)
        row: Row = {"frame": 0, **described(result)}
        outputs.write(item.name, result.depth.cpu().numpy(), result, row)
        done.rows.append({**row, "total_ms": _ms_since(begun_s)})

    def _answer_video(self, item: Item, path: Path, retrofit: Retrofit, outputs: Outputs, done: Done) -> None:
        reader = VideoReader(path)
        lost = 0
        try:
            begun_s = time.perf_counter()
            for number, time_ms, _, result in answered_frames(reader, retrofit, self._settings.camera):
                done.rows += [{"frame": None, "reason": UNDECODED} for _ in range(reader.failed - lost)]
                lost = reader.failed
                row: Row = {"frame": number, "time_ms": round(time_ms, 3), **described(result)}
                outputs.write(f"{item.name}/{number:06d}", result.depth.cpu().numpy(), result, row)
                done.rows.append({**row, "total_ms": _ms_since(begun_s)})
                if number + 1 == self._settings.frames:
                    break
                begun_s = time.perf_counter()
            else:
                done.remarks += filter(None, [reader.shortfall()])
        finally:
            reader.close()
        if not done.rows:
            raise ImageError(f"{item.uri} has no frame that can be decoded")
        if reader.failed:
            done.remarks.append(f"{reader.failed} frames could not be decoded")


def batch_work(settings: Mapping[str, Any]) -> BatchWork:
    """See ``engine.Job``. settings: ``out``, ``settings`` and ``lead``."""
    return BatchWork(settings["out"], settings["settings"], settings["lead"])


def _ms_since(begun_s: float) -> float:
    return round(1e3 * (time.perf_counter() - begun_s), 3)


def _json(told: Row) -> str:
    return json.dumps(told, allow_nan=False) + "\n"
