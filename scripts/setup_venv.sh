#!/usr/bin/env bash
# Makes the virtual environment of this checkout, with the project installed editable.
#
# usage: scripts/setup_venv.sh VENV PYTHON ROS
#   ROS   "wheels": ROS 2 Jazzy from Python wheels, and the versions of constraints.txt.
#         Anything else: the ROS 2 that is sourced. The environment then sees the system's packages and replaces none of them.
set -euo pipefail

fail() { echo "setup: $*" >&2; exit 1; }

cd "${BASH_SOURCE[0]%/*}/.."
mark=.made-by-depth-retrofit
venv=${1:?VENV} ros=${3:?ROS}
command -v "${2:?PYTHON}" > /dev/null || fail "$2 is missing: install Python 3.10 or newer (apt install python3 python3-venv)"
python=$("$2" -c 'import sys; print(sys._base_executable)') # of an active virtual environment: the Python that made it
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$("$python" --version) is too old: Python 3.10 is needed"
"$python" -c 'import ensurepip, venv' 2> /dev/null || fail "Python's venv is missing: install it (apt install python3-venv)"

if [ "$ros" = wheels ]; then
    [ "$(uname -sm)" = "Linux x86_64" ] ||
        fail "there are no ROS 2 wheels for $(uname -sm): install ROS 2, source it, and run make again"
    "$python" -c 'import sys; sys.exit(sys.version_info >= (3, 15))' ||
        fail "there are no ROS 2 wheels for $("$python" --version): run make PYTHON=python3.14 or older"
    site_packages=false
    requirements=(--constraint constraints.txt --editable '.[ros,messages,depth-anything,onnxruntime,openvino,view,web,train,dev]')
else
    "$python" -c 'import rclpy' 2> /dev/null ||
        fail "$python cannot import the rclpy of the sourced ROS 2 ($ros): run make PYTHON=... with the Python it is built for"
    site_packages=true
    # Its message modules are compiled against one major version of NumPy; stay with that.
    numpy=$("$python" -c 'import numpy; print("numpy<%d" % (int(numpy.__version__.split(".")[0]) + 1))')
    requirements=("$numpy" 'setuptools<80' --editable '.[depth-anything,onnxruntime,openvino,train,dev]') # setuptools: colcon needs an older one
fi

if ! grep -qs "^include-system-site-packages = $site_packages" "$venv/pyvenv.cfg"; then
    # Made for the other kind of ROS. Only what this script made is thrown away.
    [ ! -e "$venv" ] || [ -e "$venv/$mark" ] ||
        fail "$venv exists, is of no use here (include-system-site-packages must be $site_packages), and was not made by make: move it"
    options=(--clear)
    [ "$site_packages" = false ] || options+=(--system-site-packages)
    "$python" -m venv "${options[@]}" "$venv"
    touch "$venv/$mark"
fi
rm -f "$venv"/.installed-*

echo "setup: installing into $venv (torch is large: this takes a minute or more the first time)"
quiet=(--quiet)
[ ! -t 1 ] || quiet=()
"$venv/bin/python" -m pip install --disable-pip-version-check "${quiet[@]}" "${requirements[@]}" ||
    fail "pip could not install the packages: see its message above"
touch "$venv/.installed-$ros"
