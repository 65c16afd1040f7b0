#!/usr/bin/env python3
"""A frame's way through the package: which files and functions it touches from the subscription's callback to the last publish.

    python benchmarks/frame_path.py --json benchmarks/results/frame_path.json

On a live ROS graph within one process, with the default model and all outputs subscribed. Functions are those of the package,
compiled kernels and generated messages among them, libraries and the diagnostics' timer not; each once, in the order in which the
frame first reaches them. Beside it, from the sources: the longest chain of imports at load time within the package.
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import depth_retrofit_ros
from depth_retrofit_ros.ros.transport.dds_profile import missing_variables
from depth_retrofit_ros.ros.transport.domain_isolation import free_domain, private_environment

PACKAGE = Path(depth_retrofit_ros.__file__).parent
IMAGES = ("depth/image_rect", "depth/image_rect_raw", "depth/preview", "depth/selection")
OUTPUTS = (*IMAGES, "depth/camera_info", "points", "frame_stats")
WARM_UPS = 2
PATIENCE_S = 120.0
PARTS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>", "<lambda>")  # of the function around them


class Recorder:
    """A profile hook for every thread: the package's functions, from the image's callback on, while it is ``armed``."""

    def __init__(self) -> None:
        self.armed = self.running = False
        self.seen: dict[CodeType, None] = {}
        self._lock = threading.Lock()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if not self.armed or event != "call":
            return
        code = frame.f_code
        if not self.running and code.co_name == "submit" and code.co_filename.startswith(str(PACKAGE / "ros")):
            self.running = True
        if self.running and code.co_filename.startswith(f"{PACKAGE}{os.sep}"):
            with self._lock:
                self.seen.setdefault(code)

    def functions(self) -> list[str]:
        """``file::function``, parts of functions left out."""
        named = [(Path(code.co_filename).relative_to(PACKAGE).as_posix(), qualified(code)) for code in self.seen]
        return list(dict.fromkeys(f"{file}::{name}" for file, name in named if name.rpartition(".")[2] not in PARTS))


def qualified(code: CodeType) -> str:
    """``Class.method`` where Python tells (3.11 and later)."""
    return str(getattr(code, "co_qualname", code.co_name))


def one_frame(height: int, width: int) -> list[str]:
    """What one frame touches, after some that warm everything up."""
    os.environ.update(private_environment(free_domain()))
    os.environ.update(missing_variables(os.environ))
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from rclpy.parameter import Parameter
    from rclpy.qos import QoSProfile, qos_profile_sensor_data
    from rclpy.signals import SignalHandlerOptions
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2

    from depth_retrofit_ros.msg import FrameStats
    from depth_retrofit_ros.ros.node.node import DepthNode

    recorder = Recorder()
    threading.setprofile(recorder)  # for the threads that start from here on: the executor's, the worker's, the pool's
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    names = ["depth", "depth_mm", "points", "preview", "selection"]
    values = {"outputs": names, "device": "cpu", "trust_scale": True}  # the cloud is one of them, and takes metres
    node = DepthNode(parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
    if not node.autostart():
        raise SystemExit("the node did not start: see its log above")
    client = Node("frame_path")
    received: dict[str, int] = dict.fromkeys(OUTPUTS, 0)

    def count(topic: str, message: Any) -> None:
        received[topic] += 1

    kinds = {"points": PointCloud2, "frame_stats": FrameStats, "depth/camera_info": CameraInfo}
    for topic in OUTPUTS:
        name = f"{node.get_fully_qualified_name()}/{topic}"
        client.create_subscription(kinds.get(topic, Image), name, functools.partial(count, topic), QoSProfile(depth=10))
    images = client.create_publisher(Image, "image", qos_profile_sensor_data)
    infos = client.create_publisher(CameraInfo, "camera_info", qos_profile_sensor_data)
    for timer in node.timers:  # the diagnostics' report is no part of a frame
        timer.cancel()
    executors = [SingleThreadedExecutor(), SingleThreadedExecutor()]
    threads = [threading.Thread(target=executor.spin) for executor in executors]
    for executor, member, thread in zip(executors, (node, client), threads, strict=True):
        executor.add_node(member)
        thread.start()
    ours = [p for p in node.publishers if p.topic_name.removeprefix(f"{node.get_fully_qualified_name()}/") in OUTPUTS]
    wait_for(lambda: all(publisher.get_subscription_count() for publisher in (*ours, images, infos)))

    image = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    image.data.frombytes(bytes(range(256)) * (3 * height * width // 256) + bytes(3 * height * width % 256))
    image.header.frame_id = "camera"
    info = CameraInfo(height=height, width=width, k=[0.8 * width, 0.0, width / 2, 0.0, 0.8 * width, height / 2, 0.0, 0.0, 1.0])
    info.header.frame_id = "camera"
    for number in range(WARM_UPS + 1):
        recorder.armed = number == WARM_UPS
        image.header.stamp = info.header.stamp = node.get_clock().now().to_msg()
        before = dict(received)
        infos.publish(info)
        time.sleep(0.2)  # the info is there when the image is, and best effort has been connected
        images.publish(image)
        wait_for(functools.partial(has_come, received, before))
    recorder.armed = False
    for executor, thread in zip(executors, threads, strict=True):
        executor.shutdown()
        thread.join()
    node.destroy_node()
    client.destroy_node()
    rclpy.shutdown()
    return recorder.functions()


def has_come(received: dict[str, int], before: dict[str, int]) -> bool:
    """Whether each output came again."""
    return all(received[topic] > before[topic] for topic in OUTPUTS)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise SystemExit(f"waited {PATIENCE_S:g} s in vain: no frame came through")
        time.sleep(0.01)


def longest_import_chain() -> list[str]:
    """Module by module, of what is imported at load time; type-only imports left out."""
    modules = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if "msg" not in path.relative_to(PACKAGE).parts}
    imports = {name: sorted(set(loaded(path, modules)) - {name}) for name, path in modules.items()}

    @functools.cache
    def chain(name: str) -> tuple[str, ...]:
        below = [chain(other) for other in imports[name]]
        return (name, *max(below, key=len)) if below else (name,)

    longest = max((chain(name) for name in modules), key=len)
    return list(longest)


def module_name(path: Path) -> str:
    parts = (PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def loaded(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    """Modules of the package that a file imports when it is loaded."""
    body: list[ast.stmt] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while body:
        node = body.pop()
        if isinstance(node, ast.Try):
            body += node.body
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield from (name for name in (full if full in modules else node.module,) if name in modules)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="1280x720", help="of the image (default: 1280x720)")
    parser.add_argument("--json", type=Path, help="write the lists, too")
    args = parser.parse_args()
    width, height = (int(side) for side in args.size.split("x"))
    functions, chain = one_frame(height, width), longest_import_chain()
    files = list(dict.fromkeys(name.partition("::")[0] for name in functions))
    print(f"{len(files)} files, {len(functions)} functions, longest import chain {len(chain)} modules")
    if args.json is not None:
        found = {"size": [height, width], "files": files, "functions": functions, "import_chain": chain}
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
