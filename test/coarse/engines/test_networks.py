"""What an engine can rely on: a model's network takes tensors and gives tensors, exports as one graph, and computes in half."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.engines.base import CompilableModel, Tensors
from depth_retrofit_ros.coarse.engines.precision import HasExactParts, in_precision, lowered
from depth_retrofit_ros.coarse.engines.self_check import compare
from test.coarse.engines.models import CASES, Case, recorded

EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
LARGEST_OF_BFLOAT16 = 0.05  # median difference of the answer over its spread: of random networks, whose answers hardly vary
DATA_DEPENDENT = ("_local_scalar_dense", "nonzero", "item", "masked_select", "unique")


def others_like(inputs: Tensors) -> Tensors:
    """Inputs of the same shapes and dtypes: another frame."""
    return tuple(tensor.flip(-1) * 0.9 if tensor.numel() > 1 else tensor * 1.05 for tensor in inputs)


def exported(network: nn.Module, inputs: Tensors) -> torch.export.ExportedProgram:
    with torch.no_grad():
        return torch.export.export(network, tuple(tensor.clone() for tensor in inputs))


def assert_same(given: Tensors, wanted: Tensors, tolerance: float) -> None:
    for ours, theirs in zip(given, wanted, strict=True):
        if float(theirs.float().min()) < -20:  # the logarithm of next to nothing is not worth comparing
            ours, theirs = ours.exp(), theirs.exp()
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * max(1.0, float(theirs.float().abs().max())))


@EVERY
def test_tensors_go_in_and_a_tuple_of_tensors_comes_out(case: Case) -> None:
    model, network, recorder = recorded(case)
    assert isinstance(model, CompilableModel)
    assert recorder.inputs and all(type(tensor) is Tensor for tensor in recorder.inputs)
    answer, features, *_ = recorder.answer
    assert isinstance(recorder.answer, tuple) and all(type(tensor) is Tensor for tensor in recorder.answer)
    assert answer.dtype == torch.float32 and answer.dim() == 3 and answer.shape[0] == 1
    assert features.dim() == 4 and features.shape[0] == 1 and features.shape[1] > 1
    assert isinstance(network, nn.Module) and not network.training


@EVERY
def test_it_exports_as_one_graph_that_answers_the_same(case: Case) -> None:
    """At a fixed size: nothing in it depends on data, and no shape is left open."""
    _, network, recorder = recorded(case)
    program = exported(network, recorder.inputs)
    targets = [str(node.target) for node in program.graph.nodes]
    assert [target for target in targets if any(f".{word}." in target for word in DATA_DEPENDENT)] == []
    values = [node.meta["val"] for node in program.graph.nodes if isinstance(node.meta.get("val"), Tensor)]
    assert values and all(isinstance(side, int) for value in values for side in value.shape)
    assert torch.float64 not in {value.dtype for value in values}, "which TensorRT has not"
    inputs = others_like(recorder.inputs)
    with torch.no_grad():
        assert_same(program.module()(*inputs), network(*inputs), 1e-5)


@EVERY
def test_lowered_to_bfloat16_it_answers_in_float32_and_exports(case: Case) -> None:
    _, network, recorder = recorded(case)
    before = copy.deepcopy(network.state_dict())
    half = lowered(network, torch.bfloat16)
    inputs = others_like(recorder.inputs)
    with torch.no_grad():
        answer = half(*inputs)
        difference = compare(network(*inputs), answer)
    assert answer[0].dtype == torch.float32 and bool(answer[0].isfinite().all())
    assert difference.median < LARGEST_OF_BFLOAT16, difference
    assert torch.bfloat16 in {parameter.dtype for parameter in half.parameters()}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with torch.no_grad():
        assert_same(exported(half, recorder.inputs).module()(*inputs), answer, 1e-2)


class Two(nn.Module):
    """A third party's network with an exact part."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 1, 1)
        self.register_buffer("offset", torch.full((1,), 1 / 3))
        self.register_buffer("count", torch.tensor([7]))

    def exact(self) -> Iterator[nn.Module]:
        """See ``HasExactParts``."""
        yield self.head

    def forward(self, planes: Tensor, focal: Tensor) -> Tensors:
        features = self.body(planes) + self.get_buffer("offset")
        return self.head(features.float())[:, 0] * focal, features


def test_exact_parts_are_never_rounded_and_the_others_are() -> None:
    network = Two()
    assert isinstance(network, HasExactParts)
    head = network.head.weight.detach().clone()
    assert in_precision(network, torch.bfloat16) is network
    assert network.body.weight.dtype == network.get_buffer("offset").dtype == torch.bfloat16
    assert network.head.weight.dtype == torch.float32 and torch.equal(network.head.weight, head)
    assert network.get_buffer("count").dtype == torch.int64


def test_inputs_are_cast_but_for_numbers_of_the_whole_frame() -> None:
    network, focal = Two(), torch.tensor([1.001])  # in bfloat16 it would be 1
    planes = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    half = lowered(network, torch.bfloat16)
    with torch.no_grad():
        answer, features = half(planes, focal)
        assert features.dtype == torch.bfloat16
        torch.testing.assert_close(answer / half(planes, torch.tensor([1.0]))[0], torch.full_like(answer, 1.001), rtol=1e-5, atol=0)
