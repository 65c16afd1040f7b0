#!/usr/bin/env bash
# Generates the package's message: the Python module into depth_retrofit_ros/msg/, of this checkout (git ignores it) or, where a wheel
# put this script into share/, of the environment; its libraries into the virtual environment. Uses the CMakeLists.txt that colcon
# uses, with the ROS that is sourced or else the environment's ROS wheels.
#
# usage: scripts/build_messages.sh VENV
set -euo pipefail

fail() { echo "build_messages: $*" >&2; exit 1; }

root=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
venv=$(cd "${1:?usage: scripts/build_messages.sh VENV}" && pwd)
python="$venv/bin/python"
work="$venv/messages"
package="$root/depth_retrofit_ros"
[ -d "$package" ] || # installed from a wheel
    package=$(cd / && "$python" -c 'from importlib.util import find_spec; print(find_spec("depth_retrofit_ros").submodule_search_locations[0])')

command -v cmake > /dev/null || fail "cmake is missing: install it (apt install cmake)"
command -v c++ > /dev/null || fail "a C++ compiler is missing: install one (apt install g++)"
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
[ -f "$headers/Python.h" ] || fail "Python.h is missing in $headers: install Python's headers (apt install python3-dev)"

if [ -d "$venv/share/rosidl_default_generators" ]; then
    export AMENT_PREFIX_PATH="$venv"
    # The wheels' exported targets name the Python of the machine that built them; here they must name ours. Harmless to repeat.
    numpy=$("$python" -c 'import numpy; print(numpy.get_include())')
    sed -i -E "s#/opt/python/[^;\"]*/numpy/[^;\"]*include#$numpy#g; s#/opt/python/[^;\"]*/include/python[0-9.]+#$headers#g" \
        "$venv"/share/*/cmake/export_*__rosidl_generator_pyExport.cmake
fi
[ -n "${AMENT_PREFIX_PATH:-}" ] || fail "no ROS 2 to generate messages with: source one, or let make set up the environment"

rm -rf "$work"
mkdir -p "$work"
log="$work/log"
{
    PATH="$venv/bin:$PATH" cmake -S "$root" -B "$work/build" -DBUILD_TESTING=OFF -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_PREFIX_PATH="${AMENT_PREFIX_PATH//:/;}" -DCMAKE_INSTALL_PREFIX="$work/install" -DCMAKE_INSTALL_RPATH="$venv/lib" \
        -DPython3_EXECUTABLE="$python" -DPYTHON_EXECUTABLE="$python" -DPYTHON_INSTALL_DIR=python &&
    PATH="$venv/bin:$PATH" cmake --build "$work/build" --parallel "$(nproc)" &&
    cmake --install "$work/build"
} > "$log" 2>&1 || { tail -n 20 "$log" >&2; fail "cmake failed; the whole output is in $log"; }

generated="$work/install/python/depth_retrofit_ros"
rm -rf "$package/msg" "$package"/depth_retrofit_ros_s__*.so
mkdir "$package/msg"
# Not written over: a node that runs at this moment has the old file mapped, and would crash.
cp --remove-destination "$work/install/lib/"libdepth_retrofit_ros__*.so "$venv/lib/"
cp "$generated"/depth_retrofit_ros_s__*.so "$package/"
cp "$generated/msg/"*.py "$package/msg/"
rm -rf "$work/build" "$work/install"

cd "$package/.." # of the checkout, installed or not
"$python" -c 'from depth_retrofit_ros.msg import FrameStats; FrameStats.__class__.__import_type_support__()' ||
    fail "the generated message does not load"
echo "depth_retrofit_ros.msg is generated"
