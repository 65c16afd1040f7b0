"""Cleanup releases everything: what one life of the node took is not missing after the next."""

from __future__ import annotations

import json
import os

import pytest

from depth_retrofit_ros.device.memory import resident_mb
from test.waiting import run_python, same_imports

GROWTH_MB = 2.0  # of a process of 400 MB: the allocator's own unrest

# A process of its own: what else these tests do would be seen in the memory of ours.
ROUNDS = """
import json, sys, threading
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


@pytest.mark.slow
@pytest.mark.parametrize(("model", "rounds"), [("light", 50), ("compact", 6)])
def test_rounds_of_configure_and_cleanup_do_not_grow(model: str, rounds: int) -> None:
    # One arena: each life's threads may get arenas of their own, and which of them keep a page depends on who ran when.
    environment = {**os.environ, **same_imports(), "MALLOC_ARENA_MAX": "1"}
    # A life beforehand in another process: whoever compiles kernels holds up to 100 MB that the allocator gives back when it likes.
    first = run_python("-c", ROUNDS, model, "1", env=environment)
    assert first.returncode == 0, first.stderr[-2000:]
    done = run_python("-c", ROUNDS, model, str(rounds), env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    memory_mb = json.loads(done.stdout.splitlines()[-1])
    assert len(memory_mb) == rounds
    # The allocator takes its last arenas in the first lives. The least of several, because what else goes on adds to a reading, and
    # a leak stays in each.
    third = rounds // 3
    middle, end = memory_mb[third:-third], memory_mb[-third:]
    assert min(end) - min(middle) < GROWTH_MB, memory_mb


def test_the_memory_that_is_told_is_real() -> None:
    before_mb = resident_mb()
    block = bytearray(os.urandom(1)) * (200 << 20)
    grown_mb = resident_mb() - before_mb
    assert 195 < grown_mb < 215
    assert len(block) == 200 << 20
