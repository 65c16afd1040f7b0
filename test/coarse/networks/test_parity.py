"""The helper that the fixtures of published networks rest on."""

from __future__ import annotations

import torch
from torch import nn

from test.coarse.networks.parity import digest, fill, mismatches, random_input, signature


class OneOrder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.second = nn.BatchNorm1d(5)


class OtherOrder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.second = nn.BatchNorm1d(5)
        self.first = nn.Linear(6, 5)


def test_weights_follow_from_names_and_seed_alone() -> None:
    one, other, reseeded = OneOrder(), OtherOrder(), OneOrder()
    fill(one)
    fill(other)
    fill(reseeded, seed=1)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert not torch.equal(one.first.weight, reseeded.first.weight)
    assert torch.allclose(one.first.weight[0, :2], torch.tensor([0.4789, 0.4580]), atol=1e-4)


def test_a_name_of_ours_takes_the_weights_of_the_published_one() -> None:
    ours, theirs = nn.ModuleDict({"mine": nn.Linear(3, 2)}), nn.ModuleDict({"published": nn.Linear(3, 2)})
    fill(ours, name_of=lambda name: name.replace("mine", "published"))
    fill(theirs)
    assert torch.equal(ours.state_dict()["mine.weight"], theirs.state_dict()["published.weight"])
    assert signature(ours, name_of=lambda name: name.replace("mine", "published")) == signature(theirs)
    assert signature(ours) != signature(theirs)


def test_the_signature_sees_names_and_shapes_without_memory() -> None:
    with torch.device("meta"):
        small, large = nn.Linear(4, 4), nn.Linear(4, 100_000)
    assert signature(large) == {**signature(large), "tensors": 2, "values": 500_000}
    assert signature(small)["sha256"] != signature(large)["sha256"]


def test_what_differs_from_a_digest_is_told() -> None:
    output = random_input("answer", (3, 40, 50))
    expected = digest({"answer": output})
    assert mismatches({"answer": output}, expected) == []
    assert mismatches({"answer": output + 1e-3}, expected) == ["answer is off by 1.00e-03"]
    assert mismatches({"answer": output * float("nan")}, expected) == ["answer is off by nan"]
    assert mismatches({"answer": output[:2]}, expected) == ["answer is [2, 40, 50], not [3, 40, 50]"]
    assert mismatches({"other": output}, expected) == ["answer is missing", "other is in no fixture"]
    assert mismatches({"flat": torch.ones(5)}, digest({"flat": torch.ones(5)}))[0].startswith("flat hardly varies")
