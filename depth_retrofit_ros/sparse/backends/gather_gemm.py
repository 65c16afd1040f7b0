"""Sparse convolutions as gather + matrix product, with gradients: the specification of every faster backend.

Rows under the kernel are gathered into a small buffer that stays in the cache, and multiplied at once with the whole kernel as one
``[taps · Cin, Cout]`` matrix. The backward pass is a gather too, because maps mirror: it needs no atomic scatter, so it is
deterministic. The gathered matrix is never stored; it would be nine times the features. Weights have the layouts of the dense
``Conv2d`` and ``ConvTranspose2d``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

CPU_CHUNK = 4096  # rows; what is gathered for them (9 MB at 64 channels of float32) stays in the last-level cache
GPU_CHUNK = 1 << 18  # rows; bounds the memory, while each product is large enough to fill the device


class SubmanifoldConvolution(torch.autograd.Function):
    """3x3 convolution whose output is active where its input is. ``neighbors: int32 [K, 9]``."""

    @staticmethod
    def forward(
        ctx: Any,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        neighbors: torch.Tensor,
        relu_input: bool,
    ) -> torch.Tensor:
        padded = with_zero_row(features, relu_input)
        ctx.save_for_backward(padded, weight, neighbors)
        ctx.relu_input = relu_input
        kernel = weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0])
        return gather_gemm(padded, neighbors, kernel, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        padded, weight, neighbors = ctx.saved_tensors
        needs_features, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        outputs, inputs = weight.shape[:2]
        mirrored = weight.flip(2, 3).permute(2, 3, 0, 1).reshape(-1, inputs)
        grad_features = grad.new_empty(grad.shape[0], inputs) if needs_features else None
        grad_kernel = grad_accumulator(weight, inputs, 9 * outputs)
        # One gather of the output's gradient serves both products: the outputs that an input reaches lie under the mirrored kernel.
        for rows, gathered in gathered_chunks(with_zero_row(grad), neighbors):
            values = padded[rows]
            if needs_weight:
                grad_kernel += values.t() @ gathered
            if grad_features is not None:
                part = torch.mm(gathered, mirrored, out=grad_features[rows])
                if ctx.relu_input:
                    torch.ops.aten.threshold_backward.grad_input(part, values, 0, grad_input=part)
        grad_weight = (
            grad_kernel.to(weight.dtype).view(inputs, 3, 3, outputs).flip(1, 2).permute(3, 0, 1, 2) if needs_weight else None
        )
        return grad_features, grad_weight, grad.sum(0) if needs_bias else None, None, None


class DownConvolution(torch.autograd.Function):
    """2x2 convolution of stride 2. ``children: int32 [K', 4]``, ``slots: int32 [K]``."""

    @staticmethod
    def forward(
        ctx: Any,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        children: torch.Tensor,
        slots: torch.Tensor,
    ) -> torch.Tensor:
        padded = with_zero_row(features)
        ctx.save_for_backward(padded, weight, children, slots)
        kernel = weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0])
        return gather_gemm(padded, children, kernel, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        padded, weight, children, slots = ctx.saved_tensors
        needs_features, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        outputs, inputs = weight.shape[:2]
        grad_features = grad_weight = None
        if needs_features:
            kernel = weight.permute(0, 2, 3, 1).reshape(outputs, -1)
            grad_features = (grad @ kernel).view(-1, inputs).index_select(0, slots)
        if needs_weight:
            grad_kernel = grad_accumulator(weight, 4 * inputs, outputs)
            for rows, gathered in gathered_chunks(padded, children):
                grad_kernel += gathered.t() @ grad[rows]
            grad_weight = grad_kernel.to(weight.dtype).view(2, 2, inputs, outputs).permute(3, 2, 0, 1)
        return grad_features, grad_weight, grad.sum(0) if needs_bias else None, None, None


class UpConvolution(torch.autograd.Function):
    """Transposed 2x2 convolution of stride 2, onto the fine pixels that are active. Maps as in ``DownConvolution``."""

    @staticmethod
    def forward(
        ctx: Any,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        children: torch.Tensor,
        slots: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(features, weight, children)
        outputs = weight.shape[1]
        kernel = weight.permute(0, 2, 3, 1).reshape(-1, 4 * outputs)
        cells = features @ kernel if bias is None else torch.addmm(bias.repeat(4), features, kernel)
        return cells.view(-1, outputs).index_select(0, slots)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        features, weight, children = ctx.saved_tensors
        needs_features, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        inputs, outputs = weight.shape[:2]
        kernel = weight.permute(2, 3, 1, 0).reshape(-1, inputs)
        grad_features = torch.empty_like(features) if needs_features else None
        grad_kernel = grad_accumulator(weight, inputs, 4 * outputs)
        for rows, gathered in gathered_chunks(with_zero_row(grad), children):
            if needs_weight:
                grad_kernel += features[rows].t() @ gathered
            if grad_features is not None:
                torch.mm(gathered, kernel, out=grad_features[rows])
        grad_weight = grad_kernel.to(weight.dtype).view(inputs, 2, 2, outputs).permute(0, 3, 1, 2) if needs_weight else None
        return grad_features, grad_weight, grad.sum(0) if needs_bias else None, None, None


def gather_gemm(padded: torch.Tensor, rows: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``output[i] = concat(padded[rows[i, 0]], padded[rows[i, 1]], ...) @ kernel + bias``.

    padded: ``[N + 1, Cin]``, its last row zero; rows: ``int32 [K, taps]`` in 0...N; kernel: ``[taps · Cin, Cout]``.
    Returns ``[K, Cout]``.
    """
    output = padded.new_empty(rows.shape[0], kernel.shape[1])
    if bias is None:
        output.zero_()
    else:
        output.copy_(bias)
    for chunk, gathered in gathered_chunks(padded, rows):
        output[chunk].addmm_(gathered, kernel)
    return output


def gathered_chunks(padded: torch.Tensor, rows: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Pairs of a slice of the K rows and the gathered ``[slice, taps · C]``, in one buffer that the next pair overwrites.

    One buffer, because freshly allocated memory makes a gather several times slower.
    """
    count, taps = rows.shape
    channels = padded.shape[1]
    step = CPU_CHUNK if padded.device.type == "cpu" else GPU_CHUNK
    buffer = padded.new_empty(min(step, count) * taps, channels)
    for start in range(0, count, step):
        chunk = slice(start, min(start + step, count))
        index = rows[chunk].reshape(-1)
        gathered = torch.index_select(padded, 0, index, out=buffer[: index.numel()])
        yield chunk, gathered.view(-1, taps * channels)


def grad_accumulator(weight: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Zeros in float32 at least: the gradient is a sum over many chunks, which half precision would round away one by one."""
    return torch.zeros(rows, columns, dtype=torch.promote_types(weight.dtype, torch.float32), device=weight.device)


def with_zero_row(features: torch.Tensor, relu: bool = False) -> torch.Tensor:
    """``[K, C]`` to ``[K + 1, C]``: the features (their ReLU, for the price of the copy) and a row of zeros for absent pixels."""
    count, channels = features.shape
    padded = features.new_empty(count + 1, channels)
    if relu:
        torch.clamp_min(features, 0, out=padded[:count])
    else:
        padded[:count] = features
    padded[count] = 0
    return padded
