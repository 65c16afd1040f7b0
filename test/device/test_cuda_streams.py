"""On a CPU, streams and upload cost nothing and change nothing; on CUDA, that halves wait for each other."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from depth_retrofit_ros.device import cuda_streams
from depth_retrofit_ros.device.cuda_streams import CudaStream, StageTimer, Upload

CPU = torch.device("cpu")


def test_on_a_cpu_an_upload_is_a_view_wherever_it_can_be() -> None:
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    uploaded = Upload(CPU)(image)
    assert uploaded.data_ptr() == image.ctypes.data
    for odd in (image[:, ::2], image[::-1], image[..., ::-1]):
        np.testing.assert_array_equal(Upload(CPU)(odd).numpy(), odd)
    image.flags.writeable = False
    np.testing.assert_array_equal(Upload(CPU)(image).numpy(), image)


def test_on_a_cpu_all_is_done_when_it_returns() -> None:
    stream, other = CudaStream(CPU), CudaStream(CPU)
    with stream():
        made = torch.ones(3) + 1
    assert stream.record() is None
    other.wait(stream.record(), made)
    other.synchronize()
    assert made.tolist() == [2, 2, 2]


def test_stage_times_in_the_order_of_the_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_s = iter([5.0, 5.02, 7.0, 7.001])
    monkeypatch.setattr(cuda_streams, "time", SimpleNamespace(perf_counter=lambda: next(clock_s)))
    stage = StageTimer(CPU)
    for name in ("first", "second"):
        with stage(name):
            pass
    times_ms = stage.times_ms()
    assert list(times_ms) == ["first", "second"] and times_ms == pytest.approx({"first": 20.0, "second": 1.0})


@pytest.mark.cuda
def test_on_cuda_one_stream_waits_for_what_the_other_makes() -> None:
    device = torch.device("cuda")
    upload, stream, other = Upload(device), CudaStream(device), CudaStream(device)
    for value in range(20):  # more images than there are pinned buffers
        image = np.full((512, 512, 3), value, np.uint8)
        with stream():
            sent = upload(image)
            image[:] = 255  # the caller's memory is free at once
            busy = torch.ones(2000, 2000, device=device)
            for _ in range(20):
                busy = busy @ busy / 2000
            made = sent.float() + busy[0, 0]
        other.wait(stream.record(), made)
        with other():
            total = made.mean()
        other.synchronize()
        assert float(total) == value + 1
