"""Processes that train together: as one process would, whatever their number."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
import torch

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.training.group import ALONE, Group, joined
from test.training.samples import write_samples
from test.waiting import run_python, same_imports

CPU = torch.device("cpu")


def train(processes: int, kind: str, out: Path, steps: int, batch: int, *more: str) -> str:
    """By torchrun, or alone; standard error where it failed."""
    out.mkdir(exist_ok=True)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node"]
    launcher = [*launcher, str(processes)] if processes > 1 else []
    environment = {name: value for name, value in os.environ.items() if name not in ("WORLD_SIZE", "RANK")}
    environment |= {**same_imports(), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}  # names of hosts may not resolve
    words = ["-m", "test.training.together", kind, str(out), str(steps), str(batch), *more]
    done = run_python(*launcher, *words, env=environment)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def log(out: Path) -> dict[tuple[int, str], float]:
    """Values by step and name, of which each stands there once."""
    rows = [(int(row[0]), row[2], float(row[3])) for row in csv.reader((out / "log.csv").read_text().splitlines())]
    values = {(step, name): value for step, name, value in rows}
    assert len(values) == len(rows)
    return values


def average(out: Path, rank: int = 0) -> dict[str, torch.Tensor]:
    """Weights that a process came to."""
    weights: dict[str, torch.Tensor] = torch.load(out / f"average_{rank}.pt", weights_only=True)
    return weights


def assert_close(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], tolerance: float = 1e-5) -> None:
    """All tensors."""
    for name, tensor in a.items():
        torch.testing.assert_close(tensor, b[name], atol=tolerance, rtol=tolerance, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [5, 1])
def test_two_processes_learn_as_one(tmp_path: Path, batch: int) -> None:
    """Five samples are three and two; of a single one the second process makes none."""
    assert not train(1, "plain", tmp_path / "one", 50, batch)
    assert not train(2, "plain", tmp_path / "two", 50, batch)
    one, two = log(tmp_path / "one"), log(tmp_path / "two")
    assert one[50, "total"] == pytest.approx(two[50, "total"], rel=1e-4) and one[50, "half"] == pytest.approx(one[50, "total"] / 2)
    shares = {name for _, name in two if name.startswith("of_rank")}
    assert shares == ({"of_rank_0", "of_rank_1"} if batch > 1 else {"of_rank_0"})
    assert {key for key in one if key[1] == "val"} == {key for key in two if key[1] == "val"}
    assert_close(average(tmp_path / "one"), average(tmp_path / "two"))
    for name, tensor in average(tmp_path / "two", 1).items():
        assert torch.equal(tensor, average(tmp_path / "two")[name]), name


@pytest.mark.slow
def test_a_training_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    changing, alone = tmp_path / "changing", tmp_path / "alone"
    assert not train(1, "plain", alone, 58, 5)
    for processes, *more in ((2, "stop=20"), (1, "resume", "stop=40"), (2, "resume")):
        assert not train(processes, "plain", changing, 58, 5, *more)
    assert_close(average(alone), average(changing))
    assert log(changing)[58, "val"] == pytest.approx(log(alone)[58, "val"], abs=1e-4)


@pytest.mark.slow
def test_parts_that_are_learnt_from_one_after_the_other_are_the_same_step(tmp_path: Path) -> None:
    """And two processes see what one sees: each crop by itself, so that the means are the same."""
    (tmp_path / "pool").mkdir()
    write_samples(tmp_path / "pool", 3)
    assert not train(1, "sparse", tmp_path / "one", 6, 4, "accumulate=4")
    assert not train(2, "sparse", tmp_path / "two", 6, 4, "accumulate=2")
    assert_close(average(tmp_path / "one"), average(tmp_path / "two"), 1e-4)
    one, two = log(tmp_path / "one"), log(tmp_path / "two")
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert two[key] == pytest.approx(value, rel=1e-3, abs=1e-4), key


@pytest.mark.slow
def test_states_that_differ_are_told(tmp_path: Path) -> None:
    """Of processes that do not share a folder, only the one that leads has written one."""
    (tmp_path / "1").mkdir()
    assert not train(2, "plain", tmp_path, 8, 2, "apart")
    assert "give an --out that all of them share" in train(2, "plain", tmp_path, 16, 2, "apart", "resume")


def test_places_are_divided(tmp_path: Path) -> None:
    for size in (1, 2, 3, 5):
        made = [place for rank in range(size) for place in Group(rank, size).places(4)]
        assert sorted(made) == [0, 1, 2, 3]


def test_alone_nothing_is_sent() -> None:
    layer = torch.nn.Linear(2, 1)
    layer(torch.ones(4, 2)).sum().backward()
    ALONE.mean_gradients(layer, 4)
    assert torch.equal(layer.weight.grad if layer.weight.grad is not None else torch.zeros(0), torch.ones(1, 2))
    assert ALONE.mean_losses({"a": (6.0, 4)}) == {"a": 1.5} and ALONE.agree(3, CPU) and ALONE.of_leader(2.5, CPU) == 2.5
    ALONE.wait()


def test_a_wrong_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ModelError, match="RANK, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT"), joined(CPU):
        pass
    for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "x")
    with pytest.raises(ModelError, match="numbers"), joined(CPU):
        pass
    monkeypatch.delenv("WORLD_SIZE")
    with joined(CPU) as group:
        assert group is ALONE


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    cuda = torch.device("cuda")
    assert Group(3, 4, 1, 2).device(cuda) == torch.device("cuda", 1) and Group(0, 2, 0, 1).device(cuda) == cuda
    assert Group(1, 2, 1, 2).device(CPU) == CPU
    with pytest.raises(ModelError, match="one GPU for 2 processes"):
        Group(1, 2, 1, 2).device(torch.device("cuda", 0))
    with pytest.raises(ModelError, match="3 processes on 2 GPUs"):
        Group(2, 3, 2, 3).device(cuda)
