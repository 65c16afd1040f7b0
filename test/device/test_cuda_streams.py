"""On a CPU, streams and upload cost nothing and change nothing; on CUDA, that halves wait for each other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from depth_retrofit_ros.device import cuda_streams
from depth_retrofit_ros.device.cuda_streams import RING, CudaStream, Download, PinnedRing, StageTimer, Upload

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


class Tape:
    """What was copied and waited for, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.made = 0


class RecordedRing(PinnedRing):
    """Of memory that is not pinned, with events that tell."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self._tape = tape

    def _made(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.cuda.Event]:
        number, tape = self._tape.made, self._tape
        tape.made += 1

        class Event:
            def record(self) -> None:
                tape.told.append(f"copy {number}")

            def synchronize(self) -> None:
                tape.told.append(f"wait {number}")

        return torch.empty_like(like), cast(torch.cuda.Event, Event())


def recorded_download(tape: Tape) -> Download:
    download = Download(torch.device("cuda"))
    download._ring = RecordedRing(tape)
    return download


def test_several_outputs_are_under_way_before_one_is_waited_for() -> None:
    tape = Tape()
    depth, mask = recorded_download(tape), recorded_download(tape)
    fetched = [depth(torch.full((3, 4), 1.5)), mask(torch.ones(2, dtype=torch.bool))]
    assert tape.told == ["copy 0", "copy 2"]
    np.testing.assert_array_equal(fetched[0].values(), np.full((3, 4), 1.5, np.float32))
    assert fetched[1].values().tolist() == [True, True]
    assert tape.told[2:] == ["wait 0", "wait 2"]


def test_values_stay_until_the_ring_comes_round_and_another_size_has_buffers_of_its_own() -> None:
    tape = Tape()
    download = recorded_download(tape)
    first, second = download(torch.zeros(3)), download(torch.ones(3))
    assert first.values().tolist() == [0, 0, 0] and second.values().tolist() == [1, 1, 1]
    download(torch.full((3,), 2.0))
    assert first.values().tolist() == [2, 2, 2] and second.values().tolist() == [1, 1, 1] and tape.made == RING
    larger = download(torch.zeros(4))
    assert larger.values().shape == (4,) and second.values().tolist() == [1, 1, 1] and tape.made == 2 * RING
    assert download(torch.zeros(4, dtype=torch.int16)).values().dtype == np.int16


def test_on_a_cpu_a_download_is_a_view() -> None:
    tensor = torch.arange(6.0)
    assert Download(CPU)(tensor).values().ctypes.data == tensor.data_ptr()


@pytest.mark.cuda
def test_on_cuda_what_goes_first_has_the_higher_priority() -> None:
    least, greatest = torch.cuda.Stream().priority_range()
    first, other = (CudaStream(torch.device("cuda"), first)._stream for first in (True, False))
    assert first is not None and other is not None
    assert greatest <= first.priority < other.priority <= least  # lower numbers go first


@pytest.mark.cuda
def test_on_cuda_outputs_come_through_pinned_memory() -> None:
    device = torch.device("cuda")
    downloads = [Download(device) for _ in range(3)]
    for value in range(5):
        on_device = [torch.full((512, 700), float(value + index), device=device) for index in range(3)]
        fetched = [download(tensor) for download, tensor in zip(downloads, on_device, strict=True)]
        del on_device  # its memory may be given away at once: what is enqueued on the stream comes in order
        torch.full((512, 700), -1.0, device=device)
        for index, part in enumerate(fetched):
            assert part.tensor.is_pinned() and (part.values() == value + index).all()


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
