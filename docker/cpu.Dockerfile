# The depth node on a CPU, on a ROS 2 of your choice:
#   docker build -f docker/cpu.Dockerfile -t depth-retrofit .
#   docker run --rm --net=host --ipc=host depth-retrofit depth-retrofit run --image-topic /camera/image_rect
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}-ros-base

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake g++ python3-dev python3-venv \
        "ros-${ROS_DISTRO}-lifecycle-msgs" "ros-${ROS_DISTRO}-stereo-msgs" "ros-${ROS_DISTRO}-tf2-msgs" \
    && rm -rf /var/lib/apt/lists/*

# A requirement, or the address of a wheel. On x86_64 the usual torch brings CUDA's libraries, some GB: a build for the CPU does not.
ARG TORCH=torch
COPY . /src
RUN /src/docker/install.sh /venv "${TORCH}" openvino && rm -rf /src

# Kernels are compiled at the first start and kept here; ROS writes its log files.
ENV NUMBA_CACHE_DIR=/cache/kernels ROS_LOG_DIR=/cache/log
RUN useradd --create-home --uid 10001 robot && install -d -o robot /cache
USER 10001
VOLUME /cache
ENTRYPOINT ["/venv/bin/with-ros"]
CMD ["depth-retrofit", "run"]
