"""Models of other packages, held to what ``coarse.base`` says of every coarse model: a breach is one line, no wrong depth map."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarseModel, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.engines.base import Network
from depth_retrofit_ros.coarse.input_size import InputSize, size_of
from depth_retrofit_ros.coarse.past import for_another_stream, forget, remembered_by
from depth_retrofit_ros.coarse.views import CoarseView, MultiViewModel
from depth_retrofit_ros.errors import DepthRetrofitError, ModelError
from depth_retrofit_ros.io.checkpoints import first_line

LOADER = "a loader takes (weights, device, claim, size) and its entry's options, and returns a CoarseModel"
PREDICT = "predict(image, camera, hints) returns a CoarsePrediction"
DEPTH = "depth is float32 [h, w] on the model's device, finite and > 0"
VIEWS = "predict_views(images, point_maps) returns a CoarseView for each image, with camera_from_world [3, 4]"
_LOG = logging.getLogger(__name__)


def loaded(load: Callable[[], object], name: str) -> CoarseModel:
    """What the loader of a third party's model ``name`` returns, held to the contract. Raises ModelError."""
    with _in_one_line(name, "its loader", LOADER, (Exception, SystemExit)):
        model = load()
    return held_to_contract(model, name)


def held_to_contract(model: object, name: str) -> CoarseModel:
    """The model, each of whose answers is looked at before it counts.

    Types, dtypes, shapes and devices are checked with every frame; values, for which a GPU has to be waited for, with the first one
    there and with every one on a CPU. Raises ModelError where the model itself cannot be a coarse model.
    """
    for member, kind in (("claim", ScaleClaim), ("device", torch.device)):
        if not isinstance(getattr(model, member, None), kind):
            raise _breach(name, f"what its loader returned has no {member} that is a {kind.__name__}", LOADER)
    predict = getattr(model, "predict", None)
    if not callable(predict) or not _takes(predict, 3):
        raise _breach(name, "it has no predict that takes an image, a camera and hints", PREDICT)
    return _HeldViews(model, name) if isinstance(model, MultiViewModel) else _Held(model, name)


class _Held:
    """``CoarseModel``."""

    def __init__(self, model: object, name: str) -> None:
        self._model: CoarseModel = model  # type: ignore[assignment]  # ``held_to_contract`` looked
        self.name, self.claim, self.device = name, self._model.claim, self._model.device
        self._looked = False

    @property
    def size(self) -> InputSize | None:
        """Of the model's input, where it says that."""
        return size_of(self._model)

    @property
    def network(self) -> Network:
        """The model's own, which an engine may replace. Raises AttributeError of a model that has none."""
        network: Network = self._model.network  # type: ignore[attr-defined]
        return network

    @network.setter
    def network(self, network: Network) -> None:
        self._model.network = network  # type: ignore[attr-defined]

    @property
    def remembered(self) -> int | None:
        """Frames that the model remembers; None of one that never does."""
        return remembered_by(self._model)

    def forget(self) -> None:
        """Have the model take the next frame as the first one."""
        forget(self._model)

    def for_another_stream(self) -> CoarseModel:
        """See ``past.for_another_stream``. Raises ModelError where the model itself cannot be asked for that."""
        other = for_another_stream(self._model)
        return self if other is self._model else held_to_contract(other, self.name)

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel.predict``. Raises ModelError for an answer that is none."""
        with _in_one_line(self.name, "predict", PREDICT):
            prediction = self._model.predict(image, camera, hints)
        self._check(prediction, "predict", PREDICT, self._looks_at_values())
        return prediction

    def _looks_at_values(self) -> bool:
        if self.device.type != "cpu" and (self._looked or torch.cuda.is_current_stream_capturing()):
            return False
        self._looked = True
        return True

    def _check(self, prediction: object, by: str, contract: str, values: bool) -> None:
        if not isinstance(prediction, CoarsePrediction):
            raise _breach(self.name, f"{by} returned a {type(prediction).__name__}", contract)
        depth, features = prediction.depth, prediction.features
        self._check_tensor("depth", depth, (torch.float32,), (None, None), DEPTH)
        if depth.numel() < 2:
            raise _breach(self.name, "depth is a single value", DEPTH)
        floating = (torch.float32, torch.float16, torch.bfloat16)
        self._check_tensor("features", features, floating, (None, None, None), "features are floating [C, h', w']")
        for mask, told in ((prediction.sky, "sky"), (prediction.unknown, "unknown")):
            if mask is not None:
                self._check_tensor(told, mask, (torch.bool,), tuple(depth.shape), f"{told} is bool [h, w], as depth, or None")
        if prediction.normals is not None:
            told = "normals are float32 [3, h, w], unit vectors that face the camera, or None"
            self._check_tensor("normals", prediction.normals, (torch.float32,), (3, None, None), told)
        if values and not bool((depth.isfinite() & (depth > 0)).all()):
            bad = int((~(depth.isfinite() & (depth > 0))).sum())
            raise _breach(self.name, f"depth is NaN, infinite, 0 or negative in {bad} of {depth.numel()} cells", DEPTH)
        if values and not bool(features.isfinite().all()):
            raise _breach(self.name, "features are not finite", "features are finite everywhere")

    def _check_tensor(
        self, told: str, value: object, dtypes: tuple[torch.dtype, ...], shape: tuple[int | None, ...], contract: str
    ) -> None:
        if not isinstance(value, torch.Tensor):
            raise _breach(self.name, f"{told} is a {type(value).__name__}", contract)
        fits = len(shape) == value.ndim and all(given in (None, side) for given, side in zip(shape, value.shape, strict=True))
        if value.dtype not in dtypes or not fits or value.numel() == 0:
            raise _breach(self.name, f"{told} is {str(value.dtype).removeprefix('torch.')} {list(value.shape)}", contract)
        if value.device.type != self.device.type or None is not self.device.index != value.device.index:
            raise _breach(self.name, f"{told} is on {value.device} and the model on {self.device}", contract)


class _HeldViews(_Held):
    """``MultiViewModel``, too."""

    def predict_views(self, images: Iterable[torch.Tensor], point_maps: bool = False) -> list[CoarseView]:
        """See ``MultiViewModel.predict_views``. Raises ModelError for answers that are none."""
        count = 0

        def counted() -> Iterator[torch.Tensor]:
            nonlocal count
            for image in images:
                count += 1
                yield image

        model = self._model
        assert isinstance(model, MultiViewModel)
        with _in_one_line(self.name, "predict_views", VIEWS):
            views = list(model.predict_views(counted(), point_maps))
        if len(views) != count or not all(isinstance(view, CoarseView) for view in views):
            kinds = ", ".join(sorted({type(view).__name__ for view in views}))
            raise _breach(self.name, f"predict_views returned {len(views)} of {kinds or 'nothing'} for {count} images", VIEWS)
        values = self._looks_at_values()
        for view in views:
            self._check(view.prediction, "predict_views", VIEWS, values)
            if getattr(view.camera_from_world, "shape", None) != (3, 4) or not isinstance(view.camera, Camera):
                raise _breach(self.name, "a view has no Camera, or no camera_from_world [3, 4]", VIEWS)
            if view.confidence is not None:
                shape = tuple(view.prediction.depth.shape)
                self._check_tensor("confidence", view.confidence, (torch.float32,), shape, "confidence is float32 [h, w], or None")
        return views


@contextmanager
def _in_one_line(name: str, what: str, contract: str, kinds: tuple[type[BaseException], ...] = (Exception,)) -> Iterator[None]:
    """Another package's code: it can fail in any way. Running out of memory stays what it is."""
    try:
        yield
    except (DepthRetrofitError, MemoryError, torch.OutOfMemoryError):
        raise
    except kinds as error:
        _LOG.debug("model '%s': %s failed", name, what, exc_info=error)
        line = first_line(error)  # of a SystemExit it is its code
        raise _breach(name, f"{what} raised {type(error).__name__} ({line})", contract) from error


def _takes(function: Callable[..., object], count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # nothing is known of a compiled function's parameters
        return True
    return True


def _breach(name: str, what: str, contract: str) -> ModelError:
    return ModelError(f"model '{name}' of another package: {what}, but {contract}: tell its authors")
