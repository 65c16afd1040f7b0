"""OpenVINO on the CPU: the network's ONNX file, compiled for this processor."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.engines.base import Network, Source, Tensors
from depth_retrofit_ros.coarse.engines.onnx_file import loaded_from_onnx
from depth_retrofit_ros.errors import ModelError

_PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}


class OpenVinoEngine:
    """``CoarseEngine``. It reads torch's memory and writes into torch's: nothing is copied on either side.

    In bfloat16 its sums, and what it returns, are float32; parts that a network calls exact are bfloat16 too.
    """

    name = "openvino"
    devices: tuple[str, ...] = ("cpu",)
    precisions: tuple[torch.dtype, ...] = tuple(_PRECISIONS)

    def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
        """See ``CoarseEngine.compile``. It has as many threads as torch has now, and keeps what it makes beside the ONNX file."""
        core = _core()
        if precision == torch.bfloat16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ModelError("coarse engine openvino has no bfloat16 on this processor: use coarse precision float32")

        def load(file: Path, folder: Path | None) -> _Compiled:
            options = {
                "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "PERFORMANCE_HINT": "LATENCY",
                "ENABLE_CPU_PINNING": False,  # the refiner's threads are on the same cores
                **({} if folder is None else {"CACHE_DIR": str(folder)}),
            }
            return _Compiled(core.compile_model(str(file), "CPU", options))

        return loaded_from_onnx(network, inputs, source, self.name, load)


@cache
def _core() -> Any:
    """The process's one ``openvino.Core``, for good: when it goes, it gives the main thread a stack for signals that is no longer
    there, and the next Ctrl-C ends the process by a segmentation fault."""
    import openvino

    return openvino.Core()


class _Compiled:
    """``Network``: float32 in and out, shapes as in the file."""

    def __init__(self, model: Any) -> None:
        self._request = model.create_infer_request()
        self._shapes = [tuple(output.shape) for output in model.outputs]

    def __call__(self, *inputs: Tensor) -> Tensors:
        import openvino

        kept = [tensor.contiguous() for tensor in inputs]
        for index, tensor in enumerate(kept):
            self._request.set_input_tensor(index, openvino.Tensor(tensor.numpy(), shared_memory=True))
        # New ones for each frame: who asked keeps the features as long as the frame is worked on.
        outputs = tuple(torch.empty(shape) for shape in self._shapes)
        for index, tensor in enumerate(outputs):
            self._request.set_output_tensor(index, openvino.Tensor(tensor.numpy(), shared_memory=True))
        self._request.infer()
        return outputs
