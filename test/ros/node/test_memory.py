"""Cleanup releases everything: what one life of the node took is not missing after the next."""

from __future__ import annotations

import itertools
import json
import os

import pytest

from test.waiting import run_python, same_imports

GROWTH_MB = 2.0  # of a process of 400 MB: the allocator's own unrest

# A process of its own: what else these tests do would be seen in the memory of ours.
ROUNDS = """
import json, sys, threading
from depth_retrofit_ros.ros.transport.dds_profile import configure_transport
configure_transport()  # as every program of ours does: the allocator is part of what is measured
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from depth_retrofit_ros.ros.node.node import DepthNode, load_retrofit
from depth_retrofit_ros.device.memory import resident_mb
from test.ros.graph import SlantedWall, small_retrofit

model, rounds = sys.argv[1], int(sys.argv[2])
rclpy.init()
node = DepthNode(load=load_retrofit if model == "compact" else lambda settings: small_retrofit(SlantedWall(), settings))
held, memory_mb = [], []
for _ in range(rounds):
    for step in (node.trigger_configure, node.trigger_activate, node.trigger_deactivate, node.trigger_cleanup):
        assert step() == TransitionCallbackReturn.SUCCESS
    memory_mb.append(resident_mb())
    held.append((len(list(node.publishers)), len(list(node.subscriptions)), threading.active_count()))
assert len(set(held)) == 1, held  # the first life starts the threads that all share
print(json.dumps(memory_mb))
"""


def readings(model: str, rounds: int) -> list[float]:
    """The memory after each round, MB."""
    done = run_python("-c", ROUNDS, model, str(rounds), env={**os.environ, **same_imports()})
    assert done.returncode == 0, done.stderr[-2000:]
    memory_mb: list[float] = json.loads(done.stdout.splitlines()[-1])
    assert len(memory_mb) == rounds
    return memory_mb


@pytest.fixture(scope="module")
def compiled() -> None:
    """A life beforehand in another process, with all kernels of the next: whoever compiles holds up to 100 MB that the allocator
    gives back when it likes."""
    readings("compact", 1)


@pytest.mark.slow
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("model", "rounds"), [("light", 50), ("compact", 6)])
def test_rounds_of_configure_and_cleanup_do_not_grow(model: str, rounds: int) -> None:
    memory_mb = readings(model, rounds)
    # The heap has its size after the first lives.
    assert repeated_growth(memory_mb[rounds // 3 :]) < GROWTH_MB, memory_mb


@pytest.mark.parametrize(
    ("memory_mb", "growth_mb"),
    [
        ([500.6, 500.7, 500.7, 504.0, 504.2, 504.3], 0.4),  # a block of an allocator, taken once
        ([500.0, 501.0, 502.0, 503.0, 504.0, 505.0], 4.0),  # a leak in each life
        ([500.0, 500.0, 502.0, 502.0, 504.0, 504.0], 2.0),  # a leak that the allocator shows in every second life
        ([500.0, 530.0, 500.0, 520.0, 500.0, 500.0], 0.0),  # what else went on
    ],
)
def test_a_leak_stays_in_each_reading_and_comes_again(memory_mb: list[float], growth_mb: float) -> None:
    assert repeated_growth(memory_mb) == pytest.approx(growth_mb)


def repeated_growth(memory_mb: list[float]) -> float:
    """Growth (MB) that stays in all later readings, without its largest step: a leak comes in each life, a page once."""
    kept = [min(memory_mb[i:]) for i in range(len(memory_mb))]
    steps = [after - before for before, after in itertools.pairwise(kept)]
    return sum(steps) - max(steps)


# In a process of its own too: from one that has run for long the system takes back what lies idle, meanwhile.
BLOCK = """
from depth_retrofit_ros.device.memory import resident_mb
before_mb = resident_mb()
block = bytearray(b"1") * (200 << 20)
print(resident_mb() - before_mb)
"""


def test_the_memory_that_is_told_is_real() -> None:
    done = run_python("-c", BLOCK, env={**os.environ, **same_imports()})
    assert done.returncode == 0, done.stderr[-2000:]
    assert 195 < float(done.stdout) < 215
