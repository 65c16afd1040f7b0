"""Processes that train together: as one process would, whatever their number, and none waits for one that has failed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # which lack only the word

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.training import failures
from depth_retrofit_ros.training import group as group_module
from depth_retrofit_ros.training.failures import failing_together, reachable
from depth_retrofit_ros.training.group import ALONE, Group, SharedBatchNorm, joined
from depth_retrofit_ros.training.loop import Loop, LoopSpec
from test.training.samples import write_samples
from test.waiting import PATIENCE_S, run_python, same_imports

CPU = torch.device("cpu")
TOLERANCE = 1e-4  # of losses and gradients, relative: what another order of sums in float32 makes of them
LATER = 1e-2  # of losses once Adam has moved weights by the signs of gradients, of which rounding turns some
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def environment() -> dict[str, str]:
    """Of a process that imports what this one does, and is not in a group unless a launcher puts it there."""
    here = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return here | {**same_imports(), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}  # names of hosts may not resolve


def train(pool: Path, *trainings: str) -> str:
    """One after the other, in two processes of torchrun; what was said where they failed."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2"]
    done = run_python(
        *launcher, "-m", "test.training.together", str(pool), *trainings, env=environment(), patience_s=5 * PATIENCE_S
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def log(out: Path) -> dict[tuple[int, str], float]:
    """Values by step and name, of which each stands there once."""
    rows = [(int(row[0]), row[2], float(row[3])) for row in csv.reader((out / "log.csv").read_text().splitlines())]
    values = {(step, name): value for step, name, value in rows}
    assert len(values) == len(rows)
    return values


def noted(out: Path, rank: int = 0) -> dict[str, Any]:
    """The losses of each step and the first gradients of a process."""
    found: dict[str, Any] = torch.load(out / f"{rank}.pt", weights_only=True)
    return found


def state(out: Path) -> dict[str, Tensor]:
    """The averaged weights that were stored."""
    weights: dict[str, Tensor] = torch.load(out / "state.pt", weights_only=True)["average"]
    return weights


def assert_close(a: dict[str, Tensor], b: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    """All tensors."""
    for name, tensor in a.items():
        torch.testing.assert_close(tensor, b[name], atol=tolerance, rtol=tolerance, msg=name)


def assert_same_trainings(one: dict[str, Any], two: dict[str, Any], steps: int) -> None:
    """The losses and gradients of the first step, and of the same parameters; and nearly the losses of the others."""
    assert len(one["losses"]) == len(two["losses"]) == steps
    for step, (wanted, got) in enumerate(zip(one["losses"], two["losses"], strict=True)):
        assert list(got) == list(wanted)
        for name, value in wanted.items():
            assert got[name] == pytest.approx(value, rel=LATER if step else TOLERANCE, abs=1e-3 if step else 1e-5), (step, name)
    assert len(one["gradients"]) == len(two["gradients"]) > 0
    for wanted, got in zip(one["gradients"], two["gradients"], strict=True):
        whole = sum(float(gradient.square().sum()) for gradient in wanted.values() if gradient is not None) ** 0.5
        for name, gradient in wanted.items():
            assert (gradient is None) == (got[name] is None), name
            if gradient is not None:
                assert float((gradient - got[name]).norm()) <= TOLERANCE * max(float(gradient.norm()), 1e-2 * whole), name


KINDS = {  # (samples a step, parts that two processes learn in)
    "refiner": (5, 2),  # one process has three, in parts of two and one
    "paper": (5, 2),
    "urgt": (4, 2),
    "sharp": (5, 2),
    "compact": (3, 2),  # one process, and one part, has a teacher's alone
    "prv2": (4, 1),
}
STEPS, PLAIN_STEPS = 2, 50


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each training in folders KIND_1, of one process, and KIND_2, of two; and some of the small network that were stopped: all in
    the same two processes, which take longer to start than to train."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "pool").mkdir()
    write_samples(folder / "pool", 3)

    def of(kind: str, name: str, steps: int, batch: int, *more: str) -> str:
        (folder / name).mkdir(parents=True, exist_ok=True)
        return ",".join((kind, str(folder / name), str(steps), str(batch), *more))

    for rank in ("0", "1"):
        (folder / "apart" / rank).mkdir(parents=True)
    one = [of(kind, f"{kind}_1", STEPS, batch, "alone") for kind, (batch, _) in KINDS.items()]
    two = [of(kind, f"{kind}_2", STEPS, batch, f"accumulate={parts}") for kind, (batch, parts) in KINDS.items()]
    plain = [of("plain", "plain_1", PLAIN_STEPS, 5, "alone"), of("plain", "plain_2", PLAIN_STEPS, 5)]
    changes = (("stop=20",), ("resume", "stop=40", "alone"), ("resume",))
    changing = [of("plain", "changing", PLAIN_STEPS, 5, *more) for more in changes]
    apart = [
        of("plain", "alone", 16, 4, "alone"),
        of("plain", "apart", 16, 4, "apart", "stop=8"),
        of("plain", "apart/1", 16, 2, "alone", "stop=8"),  # of another training, where the second process has its folder
        of("plain", "apart", 16, 4, "apart", "resume"),
    ]
    assert not train(folder / "pool", *one, *two, *plain, *changing, *apart)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_each_training_is_the_same_in_two_processes_and_in_parts(trained: Path, kind: str) -> None:
    assert_same_trainings(noted(trained / f"{kind}_1"), noted(trained / f"{kind}_2"), STEPS)
    one, two = log(trained / f"{kind}_1"), log(trained / f"{kind}_2")
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert two[key] == pytest.approx(value, rel=LATER, abs=1e-3), key  # of weights that Adam has moved by signs of gradients


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_learn_as_one(trained: Path) -> None:
    """Samples count by what is known of them; what only one process uses is learnt, what none does stays as it was made."""
    one, two = (noted(trained / name) for name in ("plain_1", "plain_2"))
    assert_same_trainings(one, two, PLAIN_STEPS)
    gradients = two["gradients"][0]
    assert gradients["never.weight"] is None and gradients["odd.weight"] is not None
    assert_close(state(trained / "plain_1"), state(trained / "plain_2"))
    last = PLAIN_STEPS, "total"
    assert log(trained / "plain_1")[last] == pytest.approx(log(trained / "plain_2")[last], rel=TOLERANCE)
    assert noted(trained / "plain_2", 1)["losses"] == two["losses"], "each process knows the losses of all"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_training_goes_on_with_another_number_of_processes(trained: Path) -> None:
    """Of two, one and two."""
    assert_close(state(trained / "plain_1"), state(trained / "changing"))
    last = PLAIN_STEPS, "val"
    assert log(trained / "changing")[last] == pytest.approx(log(trained / "plain_1")[last], abs=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_go_on_from_the_state_of_the_one_that_leads(trained: Path) -> None:
    """On machines with a folder each another one's state may be missing, or of another training that is as far."""
    assert_close(state(trained / "alone"), state(trained / "apart" / "0"))


@contextmanager
def served() -> Iterator[tuple[TCPStore, dict[str, str]]]:
    """What a launcher gives two processes: a store, at a port that the system chooses, and where it is."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    place = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    yield store, place | {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}


def two_that_end(out: Path, how: str) -> tuple[list[int], list[str]]:
    """How two processes end that no launcher sees to, and what they have said on standard error."""
    words = [sys.executable, "-m", "test.training.together", str(out), f"plain,{out},9,2,{how}"]
    with served() as (_, place):
        started = [
            subprocess.Popen(
                words, env=environment() | place | {"RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True
            )
            for rank in ("0", "1")
        ]
        try:
            said = [process.communicate(timeout=PATIENCE_S)[1] for process in started]
        finally:
            for process in started:
                process.kill()
    return [process.returncode for process in started], said


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_that_fails_ends_the_others(tmp_path: Path) -> None:
    """With its line, though the other waits where nothing reaches it."""
    codes, (waiting, failing) = two_that_end(tmp_path, "fail=3")
    assert codes == [1, 1]
    assert "the second process cannot go on: see to it\n" in failing and "Traceback" not in failing + waiting
    assert "another process of this training has failed, process 1: the second process cannot go on: see to it\n" in waiting


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_that_is_killed_ends_the_others(tmp_path: Path) -> None:
    codes, (left, killed) = two_that_end(tmp_path, "kill=3")
    assert codes == [1, -signal.SIGKILL] and not killed
    assert "a process of this training cannot be reached" in left and "start all again, with --resume\n" in left
    assert "Traceback" not in left


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_torchrun_ends_the_others_and_they_say_why(tmp_path: Path) -> None:
    """It terminates them before they would have ended by themselves."""
    said = train(tmp_path, f"plain,{tmp_path},9,2,fail=3")
    assert "another process of this training has failed, process 1: the second process cannot go on: see to it\n" in said


@pytest.fixture
def first_of_two(monkeypatch: pytest.MonkeyPatch) -> Iterator[TCPStore]:
    """This process is the first one; the store that both know."""
    with served() as (store, place):
        for name, value in {**place, "RANK": "0", "LOCAL_RANK": "0"}.items():
            monkeypatch.setenv(name, value)
        yield store


def written(store: TCPStore) -> Store:
    """What processes of a group write there of themselves."""
    return PrefixStore("depth_retrofit_0", store)


class Signal(BaseException):
    """That a launcher has sent."""


@pytest.mark.parametrize("failure", ["out of crops", "interrupted"])
def test_one_that_is_interrupted_says_which_has_failed(
    first_of_two: TCPStore, capsys: pytest.CaptureFixture[str], failure: str
) -> None:
    """Not where all are interrupted."""
    with pytest.raises(Signal), failing_together(0, "127.0.0.1", first_of_two.port):
        written(first_of_two).set("failed", f"process 1: {failure}")
        raise Signal
    line = "depth-retrofit: error: another process of this training has failed, process 1: out of crops\n"
    assert capsys.readouterr().err == ("" if failure == "interrupted" else line)


def test_a_mistake_of_one_is_told_to_the_others(first_of_two: TCPStore) -> None:
    """Though it is made before they compute together."""
    with pytest.raises(ModelError, match="--device cuda:0 is one GPU for 2 processes"), joined("cuda:0"):
        pass
    assert written(first_of_two).get("failed").decode().startswith("process 0: --device cuda:0 is one GPU")


def test_devices_of_two_kinds_are_refused(first_of_two: TCPStore) -> None:
    written(first_of_two).set("device of 1", "cuda")
    with (
        pytest.raises(ModelError, match="one kind, and found cpu for process 0, cuda for process 1: give --device cpu"),
        joined("cpu"),
    ):
        pass


@pytest.mark.parametrize("served_by", ["itself", "another"])
def test_a_process_that_finds_no_other_ends(first_of_two: TCPStore, monkeypatch: pytest.MonkeyPatch, served_by: str) -> None:
    """Soon, in one line."""
    monkeypatch.setattr(group_module, "REACHED", timedelta(seconds=0.3))
    monkeypatch.setattr(failures, "REACHED", timedelta(seconds=0.3))
    if served_by == "itself":
        monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")
        monkeypatch.setenv("MASTER_PORT", "0")
    with pytest.raises(ModelError, match="cannot be reached"), joined("cpu"):
        pass


def test_a_store_that_is_gone_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "REACHED", timedelta(seconds=0.3))
    with served() as (store, _):
        port = store.port
        del store
    with pytest.raises(ModelError, match="cannot be reached"), failing_together(0, "127.0.0.1", port):
        pass


def test_memory_that_runs_out_is_no_process_that_is_gone() -> None:
    with pytest.raises(torch.OutOfMemoryError), reachable():
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(ModelError, match="cannot be reached"), reachable():
        raise RuntimeError("Connection closed by peer")


def test_gradients_are_summed_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large network another copy is much; what is only summed stays as it was."""
    sent: list[Tensor] = []
    monkeypatch.setattr(dist, "all_reduce", sent.append)
    made = torch.zeros(5)  # of two parameters, of which one is learnt by each, and of their 3 gradients
    monkeypatch.setattr(torch, "cat", lambda parts: made)
    layer = nn.Linear(2, 1)
    layer(torch.ones(4, 2)).sum().backward()
    Group(0, 2).sum_gradients(layer)
    assert sent[0] is made
    values = torch.ones(3)
    assert Group(0, 2).sum(values) is not values and sent[1] is not values


@pytest.mark.parametrize("fails", [True, False])
def test_one_that_fails_waits_for_no_other(first_of_two: TCPStore, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """To leave the group in order it would have to."""
    done: list[str] = []
    monkeypatch.setattr(dist, "init_process_group", lambda *arguments, **named: done.append("begun"))
    monkeypatch.setattr(dist, "barrier", lambda: done.append("waited"))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: done.append("left"))
    written(first_of_two).set("device of 1", "cpu")
    with pytest.raises(ModelError, match="cannot") if fails else nullcontext(), joined("cpu") as (group, _):
        assert group == Group(0, 2, 0, 2)
        if fails:
            raise ModelError("it cannot")
    assert done == ["begun", "waited", *([] if fails else ["waited", "left"])]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_places_are_divided(size: int) -> None:
    made = [place for rank in range(size) for place in Group(rank, size).places(4)]
    assert sorted(made) == [0, 1, 2, 3]


def test_a_process_without_samples_is_refused() -> None:
    with pytest.raises(ModelError, match="5 processes for 4 samples a step: start fewer of them, or give a larger --batch"):
        Group(4, 5).places(4)


def test_alone_nothing_is_sent() -> None:
    layer = nn.Linear(2, 1)
    layer(torch.ones(4, 2)).sum().backward()
    before = layer.weight.grad
    ALONE.sum_gradients(layer)
    assert layer.weight.grad is before and ALONE.of_leader(2.5, CPU) == 2.5 and ALONE.content_of_leader(b"a", CPU) == b"a"
    sums = torch.ones(3)
    assert ALONE.sum(sums) is sums
    ALONE.wait()


class Doubled(Group):
    """A group whose other process has the same samples as this one."""

    def sum(self, values: Tensor) -> Tensor:
        return 2 * values


@pytest.mark.parametrize(("like", "shape"), [(nn.BatchNorm1d, (6, 3)), (nn.BatchNorm2d, (4, 3, 5, 7))])
def test_shared_batch_normalisation_is_that_of_all_samples(like: Callable[[int], nn.Module], shape: tuple[int, ...]) -> None:
    """Values, running statistics and gradients are those of the batch that holds every sample twice."""
    torch.manual_seed(0)
    plain, shared = nn.Sequential(like(3)), nn.Sequential(like(3))
    plain[0].load_state_dict({"weight": torch.rand(3), "bias": torch.rand(3)}, strict=False)
    shared.load_state_dict(plain.state_dict())
    Doubled(0, 2).share_statistics(shared)
    assert isinstance(shared[0], SharedBatchNorm) and list(shared.state_dict()) == list(plain.state_dict())
    x, pull = torch.randn(shape) * 3 + 50, torch.randn(shape)
    here, twice = x.clone().requires_grad_(), torch.cat([x, x]).requires_grad_()
    wanted, got = plain(twice), shared(here)
    (wanted * torch.cat([pull, pull])).sum().backward()
    (got * pull).sum().backward()
    torch.testing.assert_close(got, wanted[: len(x)], rtol=1e-4, atol=1e-4)
    assert here.grad is not None and twice.grad is not None
    torch.testing.assert_close(here.grad, twice.grad[: len(x)], rtol=1e-3, atol=1e-4)
    for one, other in zip(plain.parameters(), shared.parameters(), strict=True):  # which are summed over processes later
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(2 * other.grad, one.grad, rtol=1e-3, atol=1e-3)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[name], value, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shared.eval()(x), plain.eval()(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shared_batch_normalisation_keeps_its_input_alone(dtype: torch.dtype) -> None:
    """As PyTorch's own does."""
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel() * tensor.element_size())
        return tensor

    net = nn.Sequential(nn.BatchNorm2d(3))
    Doubled(0, 2).share_statistics(net)
    x = torch.randn(4, 3, 20, 20).to(dtype).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = net(x)
    assert sum(kept) < 1.1 * x.numel() * x.element_size()
    y.sum().backward()
    assert x.grad is not None and x.grad.dtype == y.dtype == dtype


def test_shared_batch_normalisation_without_weights() -> None:
    net = nn.Sequential(nn.BatchNorm1d(3, affine=False))
    Doubled(0, 2).share_statistics(net)
    x = torch.randn(6, 3, requires_grad=True)
    (net(x) * torch.arange(6.0)[:, None]).sum().backward()
    wanted = x.detach().clone().requires_grad_()
    (nn.BatchNorm1d(3, affine=False)(wanted) * torch.arange(6.0)[:, None]).sum().backward()
    assert x.grad is not None and wanted.grad is not None
    torch.testing.assert_close(x.grad, wanted.grad, rtol=1e-4, atol=1e-5)


def test_another_library_s_batch_normalisation_is_refused() -> None:
    class Other(nn.BatchNorm2d):
        pass

    with pytest.raises(ModelError, match="Other cannot be shared by 2 processes: train in one"):
        Group(0, 2).share_statistics(nn.Sequential(nn.Sequential(Other(3))))


def test_batch_normalisation_cannot_be_learnt_in_parts(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="leave out --accumulate, or start more processes"):
        Loop(nn.Sequential(nn.BatchNorm1d(3)), LoopSpec(1, 2, 1e-3, 0, tmp_path, CPU, accumulate=2))


def test_a_wrong_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ModelError, match="RANK, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT"), joined("cpu"):
        pass
    for name in VARIABLES:
        monkeypatch.setenv(name, "x")
    with pytest.raises(ModelError, match="numbers"), joined("cpu"):
        pass
    monkeypatch.delenv("WORLD_SIZE")
    with joined("cpu") as (group, device):
        assert group is ALONE and device == CPU


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyTorch would tell them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)


@pytest.mark.usefixtures("two_gpus")
def test_each_process_takes_a_gpu_of_its_own() -> None:
    for name in ("cuda", "auto"):
        assert [Group(2 + rank, 4, rank, 2).device(name) for rank in range(2)] == [torch.device("cuda", rank) for rank in range(2)]
        assert Group(1, 2, 0, 1).device(name) == torch.device("cuda", 0)
    assert Group(1, 2, 1, 2).device("cpu") == CPU and Group(1, 2, 0, 1).device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ModelError, match="--device cuda:0 is one GPU for 2 processes: give cuda"):
        Group(1, 2, 1, 2).device("cuda:0")
    with pytest.raises(ModelError, match="3 processes on 2 GPUs"):
        Group(0, 3, 0, 3).device("cuda")
    with pytest.raises(ModelError, match="unknown device"):
        Group(0, 2, 0, 2).device("tpu")
