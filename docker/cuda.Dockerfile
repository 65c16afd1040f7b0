# The depth node on an NVIDIA GPU of a desktop or server, whose driver and container toolkit are installed:
#   docker build -f docker/cuda.Dockerfile -t depth-retrofit:cuda .
#   docker run --rm --gpus all --net=host --ipc=host depth-retrofit:cuda depth-retrofit run --image-topic /camera/image_rect
# No CUDA image is needed: torch's wheels bring CUDA's libraries, Triton its own assembler, and the driver comes from the host.
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}-ros-base

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# The compiler and Python's headers stay: Triton builds its launchers with them.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake g++ python3-dev python3-venv \
        "ros-${ROS_DISTRO}-lifecycle-msgs" "ros-${ROS_DISTRO}-stereo-msgs" "ros-${ROS_DISTRO}-tf2-msgs" \
    && rm -rf /var/lib/apt/lists/*

# A requirement, or the address of a wheel, where the driver is too old for the CUDA of the newest torch.
ARG TORCH=torch
COPY . /src
RUN /src/docker/install.sh /venv "${TORCH}" cuda,depth-anything && rm -rf /src

ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENV NUMBA_CACHE_DIR=/cache/kernels TRITON_CACHE_DIR=/cache/triton HF_HUB_CACHE=/cache/hub ROS_LOG_DIR=/cache/log
RUN useradd --create-home --uid 10001 robot && install -d -o robot /cache
USER 10001
VOLUME /cache
ENTRYPOINT ["/venv/bin/with-ros"]
CMD ["depth-retrofit", "run"]
