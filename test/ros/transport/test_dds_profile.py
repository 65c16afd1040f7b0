"""Large messages between processes with what we ship, and which profile is chosen when."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from depth_retrofit_ros.ros.transport import dds_profile as transport
from depth_retrofit_ros.ros.transport.dds_profile import (
    PROFILE_VARIABLES,
    missing_variables,
    profile_variables,
    shared_memory_warning,
)
from test.waiting import PATIENCE_S, run_python

FOLDER = Path(transport.__file__).parent
SEGMENT = "{http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles}segment_size"


@pytest.mark.parametrize(
    ("environ", "free_mb", "profile"),
    [
        ({}, 8000, "fastdds_subnet_64mb.xml"),
        ({}, 64, "fastdds_subnet_17mb.xml"),
        ({}, 1, "fastdds_subnet_17mb.xml"),
        ({"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}, 128, "fastdds_subnet_64mb.xml"),
        ({"ROS_LOCALHOST_ONLY": "1"}, 8000, "fastdds_localhost_64mb.xml"),
        ({"ROS_LOCALHOST_ONLY": "0"}, 8000, "fastdds_subnet_64mb.xml"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, 64, "fastdds_localhost_17mb.xml"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, 8000, "fastdds_subnet_64mb.xml"),
        ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, 8000, None),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "/mine.xml"}, 8000, None),
        ({"FASTDDS_DEFAULT_PROFILES_FILE": "/mine.xml"}, 8000, None),
    ],
)
def test_which_profile(environ: dict[str, str], free_mb: int, profile: str | None) -> None:
    variables = profile_variables(environ, free_mb)
    assert variables == ({} if profile is None else dict.fromkeys(PROFILE_VARIABLES, str(FOLDER / profile)))
    assert all(Path(path).is_file() for path in variables.values())


def test_the_profiles_differ_in_size_and_reach_only() -> None:
    texts = {}
    for path in FOLDER.glob("fastdds_*.xml"):
        root = ElementTree.parse(path).getroot()
        (size,) = root.iter(SEGMENT)
        assert size.text == str(int(path.stem.split("_")[-1].removesuffix("mb")) << 20)
        size.text = "size"
        for descriptor in root.iter("{http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles}transport_descriptor"):
            for whitelist in descriptor.findall("{*}interfaceWhiteList"):
                assert "localhost" in path.stem and [address.text for address in whitelist] == ["127.0.0.1"]
                descriptor.remove(whitelist)
        texts[path.name] = "".join(ElementTree.tostring(root, encoding="unicode").split())
    assert len(texts) == 4
    assert len(set(texts.values())) == 1


def test_scarce_shared_memory_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert shared_memory_warning(128) is None
    assert "17 MB" in str(shared_memory_warning(64))
    assert "get lost" in str(shared_memory_warning(8))
    monkeypatch.setattr(transport, "_free_shared_memory_mb", lambda: 64)
    environ = missing_variables({})
    assert not missing_variables(environ)  # set already: by us, but that does not matter
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "--shm-size" in lines[0]
    assert environ[PROFILE_VARIABLES[0]].endswith("17mb.xml")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_large_buffers_are_kept_by_the_allocator() -> None:
    """In a fresh process: freed buffers are not given back to the system, so that the next message need not fault them in again."""
    program = (
        "import array, resource\n"
        "from depth_retrofit_ros.ros.transport.dds_profile import configure_transport\n"
        "configure_transport()\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(3): array.array('B', bytes(50_000_000))\n"
        "before = faults()\n"
        "for _ in range(5): array.array('B', bytes(50_000_000))\n"
        "print(faults() - before)"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert int(output) < 10_000, "page faults for 500 MB of buffers; 122,000 without tuning"


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="not glibc")
def test_all_threads_share_one_heap() -> None:
    """In a fresh process: with a heap each, which they have by default, each would keep the most that it ever needed."""
    program = (
        "import ctypes, sys, threading\n"
        "from depth_retrofit_ros.ros.transport.dds_profile import configure_transport\n"
        "configure_transport()\n"
        "libc, meeting = ctypes.CDLL(None), threading.Barrier(4)\n"
        "libc.malloc.restype, libc.fdopen.restype = ctypes.c_void_p, ctypes.c_void_p\n"
        "def use():\n"
        "    libc.malloc(1_000_000)\n"
        "    meeting.wait()\n"
        "threads = [threading.Thread(target=use) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "out = ctypes.c_void_p(libc.fdopen(1, b'w'))\n"
        "libc.malloc_info(0, out)\n"
        "libc.fflush(out)\n"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    heaps = [heap.get("nr") for heap in ElementTree.fromstring(output).findall("heap")]
    assert heaps == ["0"]


PUBLISHER = """
import array, sys
from depth_retrofit_ros.ros.transport.dds_profile import configure_transport
configure_transport()
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("camera")
publisher = node.create_publisher(Image, "large", QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT))
size = int(sys.argv[1])
message = Image(data=array.array("B", bytes(range(256)) * (size // 256)))
for number in map(int, sys.stdin):
    message.height = number
    publisher.publish(message)
node.destroy_node()
rclpy.shutdown()
"""

# Asks for the next image when the one before it is there, so that only transport can lose one, and no slow process.
SUBSCRIBER = """
import json, subprocess, sys, time
from depth_retrofit_ros.ros.transport.dds_profile import configure_transport
configure_transport()
import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("listener")
program, size, count, patience_s = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
received = []
def on_image(message):
    data = np.frombuffer(message.data, np.uint8)
    whole = len(data) == int(size) and bool((data.reshape(-1, 256)[::997] == np.arange(256)).all())
    received.append([message.height, whole])
node.create_subscription(Image, "large", on_image, QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT))
camera = subprocess.Popen([sys.executable, "-c", program, size], stdin=subprocess.PIPE, text=True)
def ask_for(number, wait_s):
    camera.stdin.write(f"{number}\\n")
    camera.stdin.flush()
    deadline_s = time.monotonic() + wait_s
    while [number, True] not in received and time.monotonic() < deadline_s:
        rclpy.spin_once(node, timeout_sec=0.05)
begin_s = time.monotonic()
while not received and time.monotonic() < begin_s + patience_s:  # until the two have met, best effort is lost
    ask_for(0, 0.5)
for number in range(1, count + 1):
    ask_for(number, patience_s if number == 1 or [number - 1, True] in received else 0.2)
camera.stdin.close()
camera.wait()
print(json.dumps([entry for entry in received if entry[0] > 0]))
node.destroy_node()
rclpy.shutdown()
"""


@pytest.mark.parametrize("size", [2560 * 1440 * 3, 2560 * 1440 * 4], ids=["rgb8", "32FC1"])
def test_images_of_2560x1440_arrive_in_another_process_without_loss(size: int) -> None:
    """Best effort, with nothing set but what our programs set themselves. (Without the profile, 2 to 9 of 40 arrive.)"""
    if transport._free_shared_memory_mb() < 128:
        pytest.skip("less than 128 MB of shared memory free")
    environ = {name: value for name, value in os.environ.items() if name not in PROFILE_VARIABLES}
    count = 20
    done = run_python("-c", SUBSCRIBER, PUBLISHER, str(size), str(count), str(PATIENCE_S / 4), env=environ)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [[number, True] for number in range(1, count + 1)]
