"""The house: arrows between its folders point down, ROS lives in one of them, and nothing optional is imported at load time."""

from __future__ import annotations

import ast
import configparser
import functools
import re
import sys

import pytest
from packaging.requirements import Requirement

from depth_retrofit_ros.sparse.backends.registry import BACKENDS
from test.imports import PACKAGE, Import, cycle, imports_of, reachable, read_sources
from test.paths import ROOT

# From the bottom up. Each folder, or file beside the folders, may import its own layer (without cycles) and those before it.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "lazy"}),
    frozenset({"sparse", "device", "io", "camera", "lens", "frame"}),
    frozenset({"coarse", "upsampling", "selection", "refinement", "temporal", "scale", "pointcloud", "confidence"}),
    frozenset({"preset_names"}),
    frozenset({"presets"}),
    frozenset({"retrofit", "loading"}),
    frozenset({"reconstruction"}),
    frozenset({"runtime", "evaluation", "training"}),
    frozenset({"ros"}),
    frozenset({"batch"}),
    frozenset({"bench"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
ROS_PACKAGES = re.compile(r"(rclpy|rosidl\w*|rosgraph\w*|\w+_msgs|\w+_interfaces|std_srvs|ament\w*|launch\w*)")
# Modules that cannot be loaded without something optional; whoever uses one imports it when it is asked for.
ADAPTERS = {
    f"{PACKAGE}.{name}"
    for name in (
        "batch.sftp",
        "coarse.far_limit_triton",
        "device.scan_triton",
        "io.color_map_triton",
        "io.raw_depth_triton",
        "pointcloud.normals_triton",
        "pointcloud.organized_triton",
        "refinement.pixels.decision_triton",
        "refinement.pixels.features_triton",
        "refinement.pixels.maps_triton",
        "refinement.pixels.median_triton",
        "selection.mask_triton",
        "selection.score_triton",
        "selection.top_k_triton",
        "upsampling.area_average_triton",
        "upsampling.edge_aware_triton",
        "upsampling.interpolation_triton",
        "sparse.backends.minkowski",
        "sparse.backends.spconv",
        "sparse.backends.triton.backend",
        "sparse.backends.triton.kernels",
    )
}
NAMED = re.compile(r"`([\w/]+\.py)::([\w.]+)`")


def folder(module: str) -> str:
    """The folder of the package that a module is in; a file beside the folders is its own."""
    return module.split(".")[1] if "." in module else ""


def room(module: str) -> str:
    """The folder, and within ``ros`` the folder there."""
    parts = module.split(".")[1:]
    return ".".join(parts[:2]) if parts[:1] == ["ros"] else folder(module)


def ours(imports: list[Import]) -> list[Import]:
    return [found for found in imports if found.name.split(".")[0] == PACKAGE]


def edges(imports: list[Import]) -> dict[str, set[str]]:
    """Module → modules of the package."""
    graph: dict[str, set[str]] = {}
    for found in ours(imports):
        graph.setdefault(found.module, set()).add(found.name)
    return graph


def violations(sources: dict[str, str]) -> list[str]:
    """What breaks a rule, one line each."""
    imports = imports_of(sources)
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    told = [f"{module}: {folder(module)} has no place in LAYERS" for module in sources if folder(module) not in {*level, ""}]
    for found in imports:
        here, there = folder(found.module), folder(found.name)
        if found.name.split(".")[0] != PACKAGE:
            if ROS_PACKAGES.fullmatch(found.name.split(".")[0]) and here != "ros":
                told.append(f"{found.module} imports {found.name}: only ros/ may")
        elif there == "msg":
            if here != "ros":
                told.append(f"{found.module} imports messages: only ros/ may")
        elif here and there and level.get(there, 0) > level.get(here, 99):
            told.append(f"{found.module} imports {found.name}, which is above it")
    executed = [found for found in imports if not found.type_only]
    node = {module for module in sources if room(module) == "ros.node"}
    for module in sorted(reachable(node, edges(executed))):
        if folder(module) in ("evaluation", "training", "bench", "cli"):
            told.append(f"ros/node reaches {module}")
    rooms: dict[str, set[str]] = {}
    for found in ours(executed):
        if room(found.name) != room(found.module) and "" not in (folder(found.name), folder(found.module)):
            rooms.setdefault(room(found.module), set()).add(room(found.name))
    if circle := cycle(rooms):
        told.append(f"folders import each other: {' → '.join([*circle, circle[0]])}")
    told += optional_at_load(sources, imports)
    return told


def optional_at_load(sources: dict[str, str], imports: list[Import]) -> list[str]:
    """Modules that need something optional when they are loaded, and are no adapters."""
    loaded = [found for found in imports if found.at_load]
    allowed = required()
    needing = {
        found.module
        for found in loaded
        if found.name.split(".")[0] not in allowed and not ROS_PACKAGES.fullmatch(found.name.split(".")[0])
    }
    told = [f"{module} imports something optional at load time" for module in sorted(needing - ADAPTERS)]
    graph = edges(loaded)
    for module in sorted(sources):
        through = reachable({module}, graph) & ADAPTERS
        if through and module not in ADAPTERS:
            told.append(f"{module} loads {', '.join(sorted(through))}")
    return told


@functools.cache
def required() -> frozenset[str]:
    """Top-level modules that are there in every installation."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["install_requires"].splitlines()
    names = {Requirement(line).name.replace("-", "_") for line in lines if line and not line.startswith("#")}
    modules = {"opencv_python_headless": "cv2", "pillow": "PIL", "backports.zstd": "backports"}
    return frozenset({*(modules.get(name, name) for name in names), PACKAGE, *sys.stdlib_module_names})


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return read_sources(ROOT / PACKAGE)


def test_the_package_keeps_the_rules(sources: dict[str, str]) -> None:
    assert len(sources) > 150
    assert violations(sources) == []


def test_every_adapter_is_one(sources: dict[str, str]) -> None:
    packages = {info.package for info in BACKENDS.values()} | {"triton", "fsspec"}
    assert packages - required() == {"MinkowskiEngine", "spconv", "triton", "fsspec"}
    direct = {found.module for found in imports_of(sources) if found.at_load and found.name.split(".")[0] in packages - {"torch"}}
    assert direct == ADAPTERS


@pytest.mark.parametrize(
    ("module", "line", "told"),
    [
        ("retrofit", "from depth_retrofit_ros.ros.node import processor", "above it"),
        ("selection.top_k", "def f():\n    import depth_retrofit_ros.evaluation.evaluator", "above it"),
        ("device.memory", "from depth_retrofit_ros.coarse.base import CoarseModel", "above it"),
        ("ros.node.node", "from depth_retrofit_ros.bench import live", "above it"),
        ("errors", "if True:\n    from depth_retrofit_ros import camera", "above it"),
        ("runtime.worker", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rclpy.node import Node", "only ros/ may"),
        ("bench.live", "from sensor_msgs.msg import Image", "only ros/ may"),
        ("io.npz", "def f():\n    from depth_retrofit_ros.msg import FrameStats", "imports messages"),
        ("runtime.slot", "LOADER = 'depth_retrofit_ros.cli.main:main'", "above it"),
        ("ros.transport.qos", "from depth_retrofit_ros.evaluation import evaluator", "ros/node reaches"),
        ("upsampling.interpolation", "from depth_retrofit_ros.coarse import base", "folders import each other"),
        ("ros.messages.images", "from depth_retrofit_ros.ros.node import node", "folders import each other"),
        ("reconstruction.cloud", "from depth_retrofit_ros.runtime import worker", "above it"),
        ("refinement.fusion", "from depth_retrofit_ros.reconstruction import geometry", "above it"),
        ("coarse.meter", "import transformers", "something optional at load time"),
        ("ros.node.outputs", "from depth_retrofit_ros.pointcloud import organized_triton", "loads depth_retrofit_ros.pointcloud"),
        ("elsewhere.thing", "import torch", "has no place"),
    ],
)
def test_a_planted_violation_is_found(module: str, line: str, told: str, sources: dict[str, str]) -> None:
    name = f"{PACKAGE}.{module}"
    planted = {**sources, name: f"{sources.get(name, '')}\n{line}\n"}
    assert any(told in violation for violation in violations(planted))


def test_the_package_does_not_go_through_its_own_front_door(sources: dict[str, str]) -> None:
    """``from depth_retrofit_ros import load`` is for users: inside, it would hide an arrow."""
    for module, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
                public = [alias.name for alias in node.names if f"{PACKAGE}.{alias.name}" not in sources]
                assert public in ([], ["__version__"]), f"{module} imports {public} from the package itself"


def test_one_module_owns_the_interpolation_between_grids(sources: dict[str, str]) -> None:
    """Networks have layers that interpolate; everybody else asks ``upsampling.interpolation``."""
    outside = {module: text for module, text in sources.items() if not module.endswith("_net") and ".networks." not in module}
    users = {module for module, text in outside.items() if "align_corners" in text}
    assert users == {f"{PACKAGE}.upsampling.interpolation"}


def foreign_constants(text: str) -> list[str]:
    """Constants of other files of the package that compiled functions use: numba's cache on disk would keep their old values."""
    tree = ast.parse(text)
    foreign = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE)
        for alias in node.names
    }
    compiled = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and any("njit" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]
    used = {name.id for node in compiled for part in node.body for name in ast.walk(part) if isinstance(name, ast.Name)}
    return sorted(name for name in foreign & used if name.isupper())


def test_no_compiled_kernel_takes_a_constant_from_another_file(sources: dict[str, str]) -> None:
    """As an argument, a shape, or a value of a closure, it cannot be an old one."""
    assert {module: names for module, text in sources.items() if (names := foreign_constants(text))} == {}
    planted = f"from {PACKAGE}.refinement.pixels.candidates import COUNT\n@numba.njit(cache=True)\ndef f():\n    return COUNT\n"
    assert foreign_constants(planted) == ["COUNT"]


@functools.cache
def functions(file: str) -> frozenset[str]:
    """``function`` and ``Class.method`` of a file of the package."""
    found = set()
    for node in ast.parse((ROOT / PACKAGE / file).read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{member.name}" for member in node.body if isinstance(member, ast.FunctionDef)}
    return frozenset(found)


def test_the_page_names_functions_that_exist_and_every_folder(sources: dict[str, str]) -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = NAMED.findall(page)
    assert len(named) > 20
    assert [f"{file}::{name}" for file, name in named if name not in functions(file)] == []
    folders = {folder(module) for module in sources} - {"", "__main__"}
    assert {name for name in folders if f"`{name}" not in page} == set()
