"""What an engine is given computes nothing anew that depends on weights alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_retrofit_ros.coarse.engines import folding
from depth_retrofit_ros.coarse.engines.folding import one_graph
from depth_retrofit_ros.errors import ModelError


class Net(nn.Module):
    """A padded kernel, a resized embedding, an expanded bias, and noise."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.kernel = nn.Parameter(torch.randn(4, 3, 3, 3, generator=generator))
        self.embedding = nn.Parameter(torch.randn(1, 4, 5, 5, generator=generator))
        self.bias = nn.Parameter(torch.randn(4, 1, 1, generator=generator))

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        x = F.conv2d(planes, F.pad(self.kernel, (1, 0, 1, 0)), padding=1)
        place = F.interpolate(self.embedding, size=(x.shape[2], x.shape[3]), mode="bicubic")
        wide = self.bias.expand(4, 200, 200).contiguous()
        return x[:, 0], x + place + wide.amax((1, 2), keepdim=True)


def operations(graph: torch.fx.GraphModule) -> set[str]:
    return {str(node.target).split(".")[1] for node in graph.graph.nodes if node.op == "call_function"}


def test_what_depends_on_weights_alone_is_computed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "SMALL", 1000)
    net, planes = Net().eval(), torch.rand(1, 3, 9, 9)
    plain = torch.export.export(net, (planes,)).module()
    graph = one_graph(net, (planes,), "net")
    assert {"pad", "upsample_bicubic2d"} & operations(plain)  # else the next line says nothing
    assert not operations(graph) & {"pad", "upsample_bicubic2d"}
    assert "expand" in operations(graph)  # 160,000 numbers of four
    with torch.no_grad():
        for given, wanted in zip(graph(planes), net(planes), strict=True):
            torch.testing.assert_close(given, wanted)


def test_it_can_be_done_where_frames_come_in_inference_mode() -> None:
    net = Net().eval()
    with torch.inference_mode():
        planes = torch.rand(1, 3, 9, 9)
        graph = one_graph(net, (planes,), "net")
        torch.testing.assert_close(graph(planes)[1], net(planes)[1])


def test_a_random_number_stays_random() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, planes: Tensor) -> tuple[Tensor]:
            return (planes + torch.rand_like(self.weight)[:, None, None],)

    graph, planes = one_graph(Noisy(), (torch.zeros(1, 3, 2, 2),), "noisy"), torch.zeros(1, 3, 2, 2)
    assert not torch.equal(graph(planes)[0], graph(planes)[0])


def test_a_network_that_looks_at_values_is_refused_in_one_line() -> None:
    class Looking(nn.Module):
        def forward(self, planes: Tensor) -> tuple[Tensor]:
            return (planes if planes.sum() > 0 else -planes,)

    with pytest.raises(ModelError) as refused:
        one_graph(Looking(), (torch.zeros(1, 3, 2, 2),), "looking")
    assert str(refused.value).startswith("looking is no single graph for torch.export (") and "\n" not in str(refused.value)
    assert str(refused.value).endswith(": use coarse engine eager")
