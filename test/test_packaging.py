"""The repository as a product: versions, metadata, and what the wheel and the install tree contain."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement

import depth_retrofit_ros
from depth_retrofit_ros.sparse.backends.registry import BACKENDS
from test.paths import ROOT
from test.waiting import PATIENCE_S

PACKAGE = "depth_retrofit_ros"
NAMED_OTHERWISE = {
    "MinkowskiEngineBackend": "MinkowskiEngine",
    "foxglove": "foxglove-sdk",
}  # module → distribution, which is known only where it is installed
BATCH = ("batch", "sftp", "ray")
SHARE = (
    "config/cameras.yaml",
    "config/pipeline.yaml",
    "launch/multi_camera.launch.py",
    "launch/pipeline.launch.py",
    "launch/replay.launch.py",
    "msg/FrameStats.msg",
    "package.xml",
    "rviz/depth_retrofit.rviz",
)


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def sources() -> list[Path]:
    """Every file of the repository that git tracks or would track, relative to its root."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: the list of its files is unknown")
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return sorted({Path(name) for name in names if name and (ROOT / name).is_file()})


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def requirements(setup_cfg: configparser.ConfigParser, extras: Sequence[str]) -> list[Requirement]:
    """What an installation with these extras asks for."""
    lists = [setup_cfg["options"]["install_requires"], *(setup_cfg["options.extras_require"][extra] for extra in extras)]
    return [Requirement(line) for lines in lists for line in lines.splitlines() if line and not line.startswith("#")]


def test_one_version_everywhere(manifest: ElementTree.Element) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    assert newest is not None
    versions = {
        "package.xml": manifest.findtext("version"),
        "CHANGELOG.md": newest[1],
        "installed": importlib.metadata.version(PACKAGE),
    }
    assert versions == dict.fromkeys(versions, depth_retrofit_ros.__version__)


def test_one_licence_everywhere(manifest: ElementTree.Element, setup_cfg: configparser.ConfigParser) -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    film = (ROOT / PACKAGE / "film" / "ATTRIBUTION.md").read_text(encoding="utf-8")
    shown = {name.strip() for name in re.findall(r", (CC BY[^(]*) \(http", film)}
    licences = ["Apache-2.0", *sorted(name.replace(" ", "-") for name in shown)]  # CC0 asks for nothing
    assert [tag.text for tag in manifest.iterfind("license")] == setup_cfg["metadata"]["license"].split(" AND ") == licences
    files = [tag.attrib["file"] for tag in manifest.iterfind("license")]
    assert list(dict.fromkeys(files)) == setup_cfg["metadata"]["license_files"].split()
    assert all((ROOT / file).is_file() for file in files)


def test_no_classifier_is_another_projects(setup_cfg: configparser.ConfigParser) -> None:
    """``Framework :: Robot Framework`` is a test framework's."""
    assert "Framework ::" not in setup_cfg["metadata"]["classifiers"]


def test_every_requirement_is_pinned_within_its_range(setup_cfg: configparser.ConfigParser) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins: dict[str, list[str]] = {}
    for pin in (Requirement(line) for line in lines if line and not line.startswith("#")):
        (specifier,) = pin.specifier
        assert specifier.operator == "==", f"{pin} is no exact version"
        pins.setdefault(pin.name.lower(), []).append(specifier.version)
    for requirement in requirements(setup_cfg, list(setup_cfg["options.extras_require"])):
        versions = pins.get(requirement.name.lower())
        assert versions, f"constraints.txt does not pin {requirement.name}"
        assert all(requirement.specifier.contains(version) for version in versions), f"{requirement} excludes its pin {versions}"


def test_ros_is_never_a_hard_requirement(setup_cfg: configparser.ConfigParser) -> None:
    """The wheels must not arrive beside a sourced ROS because someone installs the package."""
    assert "ros-" not in setup_cfg["options"]["install_requires"]


def imported(path: Path) -> set[str]:
    """The top-level modules that a source file imports anywhere, ours and the standard library's left out."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names} - {PACKAGE} - sys.stdlib_module_names


def is_ros(module: str) -> bool:
    known = ("ament_index_python", "launch", "launch_ros", "rclpy", "ros2cli")
    return module in known or module.endswith(("_msgs", "_srvs", "_interfaces"))


def test_every_ros_package_that_we_import_is_declared(sources: list[Path], manifest: ElementTree.Element) -> None:
    declared = {element.text for element in manifest if element.tag in ("depend", "exec_depend")}
    modules = set().union(*(imported(path) for path in sources if path.suffix == ".py" and path.parts[0] in (PACKAGE, "launch")))
    assert {module for module in modules if is_ros(module)} - declared == set(), "package.xml does not declare these"


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        (PACKAGE, ("depth-anything", "sharpdepth", "onnxruntime", "openvino", "view", "web", "train", "prv2-full", *BATCH)),
        ("test", ("depth-anything", "sharpdepth", "onnxruntime", "openvino", "view", "web", "train", "prv2-full", *BATCH, "dev")),
    ],
)
def test_every_python_package_that_we_import_is_declared(
    folder: str, extras: tuple[str, ...], sources: list[Path], setup_cfg: configparser.ConfigParser
) -> None:
    declared = {requirement.name.lower() for requirement in requirements(setup_cfg, extras)}
    declared |= {
        backend.package.lower() for backend in BACKENDS.values()
    }  # no extras: torch, or the user's CUDA, decides the version
    distributions = importlib.metadata.packages_distributions()
    files = [path for path in sources if path.suffix == ".py" and path.parts[0] == folder]
    local = {path.stem for path in files} | {part for path in files for part in path.parent.parts}
    modules = {module for path in files for module in imported(path)} - local
    undeclared = {
        module
        for module in modules
        if not is_ros(module)
        and not declared & {name.lower() for name in distributions.get(module, [NAMED_OTHERWISE.get(module, module)])}
    }
    assert not undeclared, "setup.cfg does not declare these"


def test_no_machine_or_registry_is_named(sources: list[Path]) -> None:
    forbidden = re.compile(
        r"/(?:root|work)/|/home/\w|/Users/\w|/tmp/\w|/opt/(?!ros\b|python/)\w|\bpypi\b|pythonhosted|index-url|find-links",
        re.IGNORECASE,
    )
    found = []
    for path in sources:
        if path != Path(__file__).relative_to(ROOT) and path.suffix not in (
            ".safetensors",
            ".png",
            ".jpg",
            ".webp",
            ".npz",
            ".mcap",
        ):
            text = (ROOT / path).read_text(encoding="utf-8")
            found += [f"{path}: {line.strip()}" for line in text.splitlines() if forbidden.search(line)]
    assert not found


def test_the_console_script_starts() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="depth-retrofit")
    assert script.value == "depth_retrofit_ros.cli.main:main"
    assert depth_retrofit_ros.__version__ in run(Path(sys.executable).with_name("depth-retrofit"), "--version")
    assert depth_retrofit_ros.__version__ in run(sys.executable, "-m", PACKAGE, "--version")


@pytest.fixture(scope="module")
def built(sources: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of the repository's files, and of a generated message that lies beside them."""
    out: Path = tmp_path_factory.mktemp("built")
    for path in sources:
        (out / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, out / "source" / path)
    stray = out / "source" / PACKAGE / "msg" / "__init__.py"  # as `make messages` leaves it: for one Python and one ROS
    stray.parent.mkdir()
    stray.touch()
    build = "import sys; from setuptools import build_meta as b; out = sys.argv[1]; b.build_wheel(out); b.build_sdist(out)"
    run(sys.executable, "-c", build, out, cwd=out / "source")
    return out


def test_the_wheel_has_every_file_of_the_package_and_what_makes_it_a_ros_package(sources: list[Path], built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    names = {name for name in archive.namelist() if ".dist-info/" not in name}
    data = {name.partition(".data/data/")[2] for name in names if ".data/" in name}
    assert {name for name in names if ".data/" not in name} == {path.as_posix() for path in sources if path.parts[0] == PACKAGE}
    shared = [path for path in sources if path.parts[0] in ("config", "launch", "msg", "rviz")]
    shared += [Path("CMakeLists.txt"), Path("package.xml"), Path("scripts/build_messages.sh")]
    programs = {f"lib/{PACKAGE}/{name}" for name in ("depth_node", "depth_cameras")}
    index = f"share/ament_index/resource_index/packages/{PACKAGE}"
    assert data == {f"share/{PACKAGE}/{path.as_posix()}" for path in shared} | programs | {index}
    for name in names:
        if name.endswith((".sh", "depth_node", "depth_cameras")):
            assert archive.getinfo(name).external_attr >> 16 & 0o111 == 0o111, f"{name} is not executable"


def test_the_installed_wheel_is_whole_outside_of_the_repository(built: Path, tmp_path: Path) -> None:
    """Its weights, film and DDS profile load, and what generates the message is where `depth-retrofit messages` looks."""
    (wheel,) = built.glob("*.whl")
    pip = (
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-index",
        "--no-compile",
    )
    run(*pip, "--ignore-installed", "--prefix", tmp_path, wheel, cwd=tmp_path)
    (package,) = tmp_path.glob(f"lib*/python3*/site-packages/{PACKAGE}")
    program = (
        "import sys; from pathlib import Path; from depth_retrofit_ros import load\n"
        "from depth_retrofit_ros.cli.messages import PACKAGE, sources\n"
        "from depth_retrofit_ros.training.scenes.film import Film\n"
        "profiles = len(list((PACKAGE / 'ros' / 'transport').glob('*.xml')))\n"
        "print(PACKAGE, sources(PACKAGE, Path(sys.argv[1])), profiles, len(Film()), load('compact', device='cpu').coarse.name)"
    )
    env = {**os.environ, "PYTHONPATH": str(package.parent)}
    output = run(sys.executable, "-c", program, tmp_path, cwd=tmp_path, env=env).split()
    assert output == [str(package), str(tmp_path / "share" / PACKAGE), "4", "4", "compact"]


def test_the_sdist_is_the_repository(sources: list[Path], built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    generated = {name for name in names if name == "PKG-INFO" or ".egg-info/" in name}
    left_out = {".dockerignore", ".gitignore"}
    assert names - generated == {path.as_posix() for path in sources} - left_out


def test_each_requirement_comes_by_rosdep_or_is_said_to_come_by_pip(
    setup_cfg: configparser.ConfigParser, manifest: ElementTree.Element
) -> None:
    keys = {"python3-numpy": "numpy", "python3-opencv": "opencv-python-headless", "python3-yaml": "pyyaml"}
    by_rosdep = {keys[tag.text] for tag in manifest.iterfind("exec_depend") if tag.text and tag.text.startswith("python3-")}
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith("| pip |")]
    by_pip = set(re.findall(r"`([^`]+)`", line.split("|")[2]))
    assert by_rosdep | by_pip == {requirement.name.lower() for requirement in requirements(setup_cfg, [])}
    assert by_rosdep & by_pip == set()


WHERE = """
import depth_retrofit_ros.msg
from test.paths import ROOT

def test_it_is_what_was_installed():
    assert depth_retrofit_ros.__file__ == {package!r} and depth_retrofit_ros.msg.__file__.startswith({folder!r})
"""


@pytest.fixture(scope="module")
def install_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `colcon build` installs, by the same cmake steps, its tests being one about where it is. Takes about ten seconds."""
    work = tmp_path_factory.mktemp("colcon")
    prefix = os.environ.get("AMENT_PREFIX_PATH") or sys.prefix
    env = {**os.environ, "AMENT_PREFIX_PATH": prefix, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    python = [f"-D{name}={sys.executable}" for name in ("Python3_EXECUTABLE", "PYTHON_EXECUTABLE")]
    prefixes = f"-DCMAKE_PREFIX_PATH={prefix.replace(os.pathsep, ';')}"
    install = work / "install"
    directories = ("-S", ROOT, "-B", work / "build", f"-DCMAKE_INSTALL_PREFIX={install}", "-DPYTHON_INSTALL_DIR=python")
    suite, package = work / "test_where.py", install / "python" / PACKAGE
    suite.write_text(WHERE.format(package=str(package / "__init__.py"), folder=str(package)))
    run("cmake", *directories, prefixes, "-DBUILD_TESTING=ON", f"-DSUITE={suite}", *python, env=env)
    run("cmake", "--build", work / "build", "--parallel", "2", env=env)
    run("cmake", "--install", work / "build", env=env)
    return install


def test_the_install_tree_is_a_ros_package(install_tree: Path) -> None:
    assert (install_tree / "share/ament_index/resource_index/packages" / PACKAGE).is_file()
    assert [name for name in SHARE if not (install_tree / "share" / PACKAGE / name).is_file()] == []
    for program in ("depth_node", "depth_cameras"):
        assert os.access(install_tree / "lib" / PACKAGE / program, os.X_OK)


def test_the_installed_package_holds_our_modules_and_the_message(install_tree: Path) -> None:
    """rosidl writes an empty package of our name into the same folder: ours must come out on top, with `msg` beside it."""
    program = (
        "import depth_retrofit_ros, depth_retrofit_ros.ros.node.node\n"
        "from depth_retrofit_ros.msg import FrameStats\n"
        "FrameStats.__class__.__import_type_support__()\n"
        "print(depth_retrofit_ros.__file__, depth_retrofit_ros.__version__)\n"
    )
    added = {"PYTHONPATH": install_tree / "python", "LD_LIBRARY_PATH": install_tree / "lib"}
    env = {**os.environ, **{name: f"{path}{os.pathsep}{os.environ.get(name, '')}" for name, path in added.items()}}
    output = run(sys.executable, "-c", program, cwd=install_tree, env=env).split()
    assert output == [str(install_tree / "python" / PACKAGE / "__init__.py"), depth_retrofit_ros.__version__]


def test_colcon_test_runs_the_suite_on_what_was_installed(install_tree: Path) -> None:
    """By ctest, as `colcon test` does it with the environment of the install tree."""
    build = install_tree.parent / "build"
    added = {"PYTHONPATH": install_tree / "python", "LD_LIBRARY_PATH": install_tree / "lib"}
    env = {**os.environ, **{name: f"{path}{os.pathsep}{os.environ.get(name, '')}" for name, path in added.items()}}
    run("ctest", "--test-dir", build, "--output-on-failure", env=env)
    (results,) = (build / "test_results" / PACKAGE).glob("*.xml")
    (cases,) = ElementTree.parse(results).getroot().iter("testsuite")
    assert (cases.get("tests"), cases.get("failures"), cases.get("errors")) == ("1", "0", "0")


def test_colcon_test_is_the_suite_of_make_test() -> None:
    default = re.search(r'set\(SUITE "([^"]*)"', (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))
    pytest_options = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert default is not None and f'testpaths = ["{default[1]}"]' in pytest_options


def test_the_install_tree_has_the_weights(sources: list[Path], install_tree: Path) -> None:
    expected = {path for path in sources if path.parts[:2] == (PACKAGE, "weights")}
    assert expected
    assert [path for path in expected if not (install_tree / "python" / path).is_file()] == []


def test_nothing_is_writable_for_everybody(sources: list[Path], install_tree: Path) -> None:
    files = [ROOT / path for path in sources] + [path for path in install_tree.rglob("*") if not path.is_symlink()]
    assert [path for path in files if path.stat().st_mode & 0o002] == []
