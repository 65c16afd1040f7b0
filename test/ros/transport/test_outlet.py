"""Serialized messages on a live graph: past rclpy, or through it, what arrives is the same."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy._rclpy_pybind11 import RCLError
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from depth_retrofit_ros.ros.transport import outlet as outlet_module
from depth_retrofit_ros.ros.transport import rcl_publish as rcl_publish_module
from depth_retrofit_ros.ros.transport.outlet import COPIES, Outlet, outlet, way_out
from depth_retrofit_ros.ros.transport.rcl_publish import rcl_publish
from test.ros.graph import PATIENCE_S, Graph, SlantedWall, image_message, status, value, wait_until
from test.waiting import run_python


@pytest.fixture(params=("in place", "through rclpy"))
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outlet]:
    if request.param == "through rclpy":
        monkeypatch.setattr(outlet_module, "rcl_publish", lambda: None)
    return outlet


@pytest.fixture
def undetected() -> Iterator[None]:
    """What is there is looked for anew, in this test and after it."""
    rcl_publish.cache_clear()
    yield
    rcl_publish.cache_clear()


def serialized(message: Any) -> np.ndarray:
    return np.frombuffer(serialize_message(message), np.uint8).copy()


def test_both_kinds_of_message_arrive(graph: Graph, make: Callable[..., Outlet]) -> None:
    sender, arrived = make(graph.client, Image, "pictures", 2), graph.listen(Image, "/pictures")
    wait_until(lambda: sender.get_subscription_count() == 1, "the subscription")
    picture = image_message(1440, 2560)
    data = serialized(picture)
    sender.publish(data)
    wait_until(lambda: len(arrived) == 1, "the serialized one")
    data[:] = 0  # the caller's again
    sender.publish(picture)
    wait_until(lambda: len(arrived) == 2, "the other one")
    assert arrived == [picture, picture]
    sender.destroy()
    wait_until(lambda: graph.client.count_publishers("/pictures") == 0, "its end")


def test_a_destroyed_publisher_says_so(graph: Graph, make: Callable[..., Outlet]) -> None:
    sender = make(graph.client, Image, "pictures", 2)
    sender.destroy()
    with pytest.raises(InvalidHandle):
        sender.publish(serialized(image_message()))
    with pytest.raises(InvalidHandle):
        sender.get_subscription_count()


def test_after_the_end_of_the_context_rcl_refuses(make: Callable[..., Outlet]) -> None:
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("sender", context=context)
    sender = make(node, Image, "pictures", 2)
    context.shutdown()
    for _ in range(2):  # nothing of the first is left behind
        with pytest.raises(RCLError, match="publish"):
            sender.publish(serialized(image_message()))
    node.destroy_node()


def spun(executor: SingleThreadedExecutor, arrived: list[Image], before: int) -> bool:
    """Whether more have arrived than before, after another callback."""
    executor.spin_once(timeout_sec=0.1)
    return len(arrived) > before


def test_a_publisher_that_is_destroyed_while_it_sends_ends_afterwards() -> None:
    """As where another choice of outputs is made in the middle of a frame: Python's lock is free while rcl works."""
    arrived: list[Image] = []
    data, context = serialized(image_message(1440, 2560)), Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node, executor = Node("sender", context=context), SingleThreadedExecutor(context=context)
    node.create_subscription(Image, "pictures", arrived.append, 10)
    executor.add_node(node)

    def send(sender: Outlet) -> None:
        with suppress(InvalidHandle):
            while True:
                sender.publish(data)

    for _ in range(5):
        sender, before = outlet(node, Image, "pictures", 2), len(arrived)
        wait_until(functools.partial(sender.get_subscription_count), "the subscription")
        thread = threading.Thread(target=send, args=(sender,))
        thread.start()
        wait_until(functools.partial(spun, executor, arrived, before), "a message", pause_s=0.0)
        sender.destroy()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    executor.shutdown()
    node.destroy_node()
    context.shutdown()
    assert all(len(message.data) == 3 * 1440 * 2560 for message in arrived)


@pytest.mark.usefixtures("undetected")
def test_without_the_library_the_way_is_through_rclpy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert way_out() == "where they lie", "this rclpy; where that is not so, this tells it before somebody's benchmark does"
    rcl_publish.cache_clear()

    def none(name: str, mode: int = 0) -> ctypes.CDLL:
        raise OSError(f"{name}: not loaded")

    monkeypatch.setattr(ctypes, "CDLL", none)
    assert rcl_publish() is None
    assert "rclpy" in way_out()


@pytest.mark.parametrize("in_place", [True, False])
def test_the_slower_way_is_told_and_either_is_in_the_diagnostics(
    graph: Graph, in_place: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_place:
        monkeypatch.setattr(outlet_module, "rcl_publish", lambda: None)
    node = graph.depth_node(SlantedWall(), start=False)
    infos, reports = graph.infos(node), graph.listen(DiagnosticArray, "/diagnostics")
    assert node.autostart()
    told = [f"images and clouds are published {COPIES}"]
    assert [line for line in infos if "published" in line] == ([] if in_place else told)
    wait_until(lambda: reports and status(reports[-1], "pipeline").message != "unconfigured", "a report of the active node")
    assert value(reports[-1], "pipeline", "images and clouds are published") == ("where they lie" if in_place else COPIES)


@pytest.mark.usefixtures("undetected")
def test_a_struct_of_another_layout_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(ctypes.Structure):
        _fields_ = [*reversed(rcl_publish_module._Serialized._fields_[:3]), rcl_publish_module._Serialized._fields_[3]]

    monkeypatch.setattr(rcl_publish_module, "_Serialized", Other)
    assert rcl_publish() is None


# Structs as rcutils declares them from Humble to Rolling, with so many words more at their ends.
RCUTILS = """
#include <stdint.h>
#include <stdlib.h>
typedef struct {
  void * (*allocate)(size_t, void *);
  void (* deallocate)(void *, void *);
  void * (*reallocate)(void *, size_t, void *);
  void * (*zero_allocate)(size_t, size_t, void *);
  void * state;
  size_t more[ALLOCATOR_MORE];
} rcutils_allocator_t;
typedef struct {
  uint8_t * buffer;
  size_t buffer_length, buffer_capacity;
  rcutils_allocator_t allocator;
  size_t more[ARRAY_MORE];
} rcutils_uint8_array_t;
static void * allocate(size_t size, void * state) { (void)state; return malloc(size); }
static void deallocate(void * memory, void * state) { (void)state; free(memory); }
static void * reallocate(void * memory, size_t size, void * state) { (void)state; return realloc(memory, size); }
static void * zero_allocate(size_t number, size_t size, void * state) { (void)state; return calloc(number, size); }
rcutils_allocator_t rcutils_get_default_allocator(void)
{
  rcutils_allocator_t made = {allocate, deallocate, reallocate, zero_allocate, NULL};
  for (size_t i = 0; i < ALLOCATOR_MORE; ++i) { made.more[i] = i; }
  return made;
}
int rcutils_uint8_array_init(rcutils_uint8_array_t * array, size_t capacity, const rcutils_allocator_t * allocator)
{
  array->buffer_length = 0;
  array->buffer_capacity = capacity;
  array->allocator = *allocator;
  for (size_t i = 0; i < ARRAY_MORE; ++i) { array->more[i] = i; }
  array->buffer = allocator->allocate(capacity, allocator->state);
  return array->buffer == NULL;
}
int rcutils_uint8_array_fini(rcutils_uint8_array_t * array)
{
  array->allocator.deallocate(array->buffer, array->allocator.state);
  array->buffer = NULL;
  array->buffer_length = array->buffer_capacity = 0;
  return 0;
}
"""

PROBE = """
import ctypes, sys
from depth_retrofit_ros.ros.transport.rcl_publish import _is_as_declared
answers = {_is_as_declared(ctypes.CDLL(sys.argv[1])) for _ in range(100)}
junk = [bytes(size) for size in range(10_000)]  # a heap that was overwritten shows it, at the latest when the process ends
print(*answers)
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize(("array", "allocator"), [(0, 0), (1, 0), (4, 0), (32, 0), (0, 1), (0, 4), (0, 32), (4, 4)])
def test_structs_that_have_grown_are_noticed_and_overwrite_nothing(array: int, allocator: int, tmp_path: Path) -> None:
    """In a process of its own, which would not survive it."""
    source, library = tmp_path / "rcutils.c", tmp_path / "librcutils.so"
    source.write_text(RCUTILS)
    more = (f"-DARRAY_MORE={array}", f"-DALLOCATOR_MORE={allocator}")
    subprocess.run(["cc", "-shared", "-fPIC", *more, "-o", str(library), str(source)], check=True)
    done = run_python("-c", PROBE, str(library))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [str(array == allocator == 0)]
