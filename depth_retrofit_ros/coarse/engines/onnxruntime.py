"""ONNX Runtime on the CPU: the network's ONNX file, its operations fused when it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.engines.base import Network, Source, Tensors
from depth_retrofit_ros.coarse.engines.onnx_file import loaded_from_onnx


class OnnxRuntimeEngine:
    """``CoarseEngine``. It reads torch's memory and writes into torch's: nothing is copied on either side."""

    name = "onnxruntime"
    devices: tuple[str, ...] = ("cpu",)
    precisions: tuple[torch.dtype, ...] = (torch.float32,)  # its kernels for x86 have no bfloat16

    def compile(self, network: nn.Module, inputs: Tensors, precision: torch.dtype, source: Source) -> Network:
        """See ``CoarseEngine.compile``. It has as many threads as torch has now."""
        import onnxruntime

        def load(file: Path, folder: Path | None) -> _Session:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 3  # errors
            # Threads that spin between two frames take the cores from the refiner.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            return _Session(onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"]))

        return loaded_from_onnx(network, inputs, source, self.name, load)


class _Session:
    """``Network``: float32 in and out, shapes as in the file."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs = [entry.name for entry in session.get_inputs()]
        self._outputs = [(entry.name, tuple(entry.shape)) for entry in session.get_outputs()]

    def __call__(self, *inputs: Tensor) -> Tensors:
        binding = self._session.io_binding()
        kept = [tensor.contiguous() for tensor in inputs]
        for name, tensor in zip(self._inputs, kept, strict=True):
            binding.bind_input(name, "cpu", 0, "float32", list(tensor.shape), tensor.data_ptr())
        # New ones for each frame: who asked keeps the features as long as the frame is worked on.
        outputs = tuple(torch.empty(shape) for _, shape in self._outputs)
        for (name, shape), tensor in zip(self._outputs, outputs, strict=True):
            binding.bind_output(name, "cpu", 0, "float32", list(shape), tensor.data_ptr())
        self._session.run_with_iobinding(binding)
        return outputs
