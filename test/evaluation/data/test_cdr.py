"""An image message is told from what is none by the lengths in it."""

from __future__ import annotations

import numpy as np
import pytest

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import COMPRESSED_TYPE, IMAGE_TYPE
from depth_retrofit_ros.evaluation.data.cdr import require_image
from test.evaluation.bags import compressed_message, image_message

RGB = np.zeros((3, 5, 3), np.uint8)


@pytest.mark.parametrize("frame_id", ["", "c", "camera", "camera_optical"])  # each shifts what follows by another padding
def test_whole_ones_pass_and_each_shorter_one_is_refused(frame_id: str) -> None:
    whole = {
        IMAGE_TYPE: image_message(7, RGB, "rgb8", frame_id=frame_id),
        COMPRESSED_TYPE: compressed_message(7, RGB),
    }
    for msgtype, data in whole.items():
        require_image(data, msgtype)
        for size in range(len(data) - 3):  # the writer pads to four bytes
            with pytest.raises(BagError, match=f"of {size} bytes is no"):
                require_image(data[:size], msgtype)


@pytest.mark.parametrize(("place", "value"), [(0, 1), (1, 9), (12, 255), (16, 255)])
def test_no_cdr_a_lying_length_and_a_name_that_is_no_text_are_refused(place: int, value: int) -> None:
    data = bytearray(image_message(7, RGB, "rgb8"))
    data[place] = value
    with pytest.raises(BagError, match="is no Image"):
        require_image(bytes(data), IMAGE_TYPE)
