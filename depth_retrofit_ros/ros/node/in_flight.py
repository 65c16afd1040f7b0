"""An image between the steps of ``Processor``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from depth_retrofit_ros.retrofit import InFlightFrame, RefiningFrame, Retrofit, launch_together

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo
    from std_msgs.msg import Header

    from depth_retrofit_ros.frame import Frame
    from depth_retrofit_ros.ros.node.prompts import Prompt
    from depth_retrofit_ros.ros.node.scale_fit import ScaleFitter


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image before the first of the method's steps.

    info: the image's, see ``CameraInfos``. prompt: what the model is given with the frame. alignment: what brings its depth to
    metres, as it was when the image was taken, None where nothing does. spent_ms: what it took so far, ``decode_ms`` of it for
    decoding. retrofit: what is to answer it.
    """

    header: Header
    info: CameraInfo | None
    frame: Frame
    prompt: Prompt
    alignment: ScaleFitter | None
    decode_ms: float
    spent_ms: float
    retrofit: Retrofit

    def launched(self, in_flight: InFlightFrame | None, took_ms: float) -> InFlightImage:
        """After that step, which took so long; in_flight: None where memory was too short for it."""
        known = self.header, self.info, self.frame, self.prompt, self.alignment
        return InFlightImage(*known, in_flight, self.decode_ms, self.spent_ms + took_ms)


@dataclass(frozen=True, slots=True)
class InFlightImage:
    """An image between the worker's steps: as ``DecodedImage``, and what the method made of it.

    in_flight: None where memory was too short for it. refining: None before the second step; asked: the budget that the governor
    chose for that.
    """

    header: Header
    info: CameraInfo | None
    frame: Frame
    prompt: Prompt
    alignment: ScaleFitter | None
    in_flight: InFlightFrame | None
    decode_ms: float
    spent_ms: float
    refining: RefiningFrame | None = None
    asked: float = 0.0


def begin_together(images: Sequence[DecodedImage]) -> list[InFlightImage]:
    """The method's first step for images of several cameras, see ``launch_together``. Raises where it cannot be done for all."""
    start_s = time.perf_counter()
    launched = launch_together([(image.retrofit, image.frame) for image in images])
    each_ms = 1e3 * (time.perf_counter() - start_s) / len(images)
    return [image.launched(in_flight, each_ms) for image, in_flight in zip(images, launched, strict=True)]
