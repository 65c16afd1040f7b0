"""The helper that the fixtures of published networks rest on."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import pytest
import torch
from torch import nn

from test.coarse.networks.parity import FIXTURES, SOURCE, digest, fill, mismatches, random_input, read_fixture, signature
from test.paths import ROOT
from test.scripts import load_script

NAMES = sorted(path.stem for path in FIXTURES.iterdir())


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


def largest_values(content: Any, found: dict[str, float]) -> dict[str, float]:
    """Of each output in all the digests of a fixture."""
    for name, part in content.items() if isinstance(content, dict) else [("", part) for part in content]:
        if isinstance(part, dict) and part.keys() == {"shape", "spread", "values"}:
            found[name] = max(found[name], *map(abs, part["values"]))
        elif isinstance(part, (dict, list)):
            largest_values(part, found)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_fixture_says_what_it_was_made_of_and_how_far_ours_was_off(name: str) -> None:
    fixture = read_fixture(name)
    assert re.fullmatch(SOURCE, fixture["source"])
    differences = fixture["largest_difference"]
    values = largest_values(fixture, defaultdict(float))
    assert differences.keys() == values.keys()
    assert {key for key, value in differences.items() if not value <= 1e-4 * max(1.0, values[key])} == set()


def test_each_fixture_can_be_made_again(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script(ROOT / "benchmarks" / "check_networks.py")
    assert sorted(script.COMPARE) == NAMES
    monkeypatch.setattr("sys.argv", ["check_networks.py", "moge", str(ROOT), "--write", "microsoft/MoGe@main"])
    with pytest.raises(SystemExit):
        script.main()
    assert "is not OWNER/NAME@COMMIT" in capsys.readouterr().err
