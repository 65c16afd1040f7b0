"""RGB arrays → compressed image messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage

if TYPE_CHECKING:
    from std_msgs.msg import Header

_QUALITY = 85


def jpeg(image: np.ndarray, header: Header) -> CompressedImage:
    """``uint8 [H, W, 3]`` RGB as a message."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    message = CompressedImage(header=header, format="jpeg")
    message.data.frombytes(data.tobytes())
    return message
