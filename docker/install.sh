#!/usr/bin/env bash
# Installs this checkout into a new virtual environment on the ROS 2 of an image, and what starts a program in both.
#
# usage: docker/install.sh VENV TORCH EXTRAS
#   TORCH    a requirement, or the address of a wheel; what the image has already is kept where it satisfies it
#   EXTRAS   of setup.cfg, separated by commas
set -euo pipefail

fail() { echo "install: $*" >&2; exit 1; }

source=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
venv=${1:?VENV} torch=${2:?TORCH} extras=${3:?EXTRAS}
ros=
for setup in /opt/ros/"${ROS_DISTRO:?the image has no ROS 2: ROS_DISTRO is not set}"{,/install}/setup.bash; do # installed, or built there
    [ ! -f "$setup" ] || ros=$setup
done
[ -n "$ros" ] || fail "there is no ROS 2 $ROS_DISTRO below /opt/ros"

set +u # ROS's own scripts read what is not set
source "$ros"
set -u
python3 -m venv --system-site-packages "$venv"
# Message modules are compiled against one major version of NumPy; stay with that.
numpy=$("$venv/bin/python" -c 'import numpy; print("numpy<%d" % (int(numpy.__version__.split(".")[0]) + 1))')
"$venv/bin/pip" install --no-cache-dir "$numpy" "$torch" "${source}[$extras]"
"$venv/bin/depth-retrofit" messages

# `ros2` runs by the system's Python, which finds the package and its launch files by these two variables.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cat > "$venv/bin/with-ros" << END
#!/usr/bin/env bash
source "$ros"
source "$venv/bin/activate"
export AMENT_PREFIX_PATH="$venv\${AMENT_PREFIX_PATH:+:\$AMENT_PREFIX_PATH}" PYTHONPATH="$site\${PYTHONPATH:+:\$PYTHONPATH}"
exec "\$@"
END
chmod +x "$venv/bin/with-ros"
