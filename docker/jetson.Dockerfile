# The depth node on a Jetson, built there. TORCH is the address of NVIDIA's wheel for your JetPack, or a requirement.
#
# JetPack 6 (Orin; L4T r36):
#   docker build -f docker/jetson.Dockerfile -t depth-retrofit:jetson --build-arg TORCH=WHEEL .
# JetPack 7 (Thor; L4T r38), whose CUDA is that of servers on arm64: the usual image of ROS 2 and the usual wheels of torch
#   docker build -f docker/jetson.Dockerfile -t depth-retrofit:jetson --build-arg BASE=ros:jazzy-ros-base --build-arg TORCH=torch .
#
#   docker run --rm --runtime nvidia --net=host --ipc=host depth-retrofit:jetson depth-retrofit run --image-topic /camera/image_rect
ARG BASE=dustynv/ros:jazzy-ros-base-r36.4.0-cu128-24.04
FROM ${BASE}

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

ARG TORCH
COPY . /src
RUN /src/docker/install.sh /venv "${TORCH:?give --build-arg TORCH=WHEEL}" cuda && rm -rf /src

ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=all
ENV NUMBA_CACHE_DIR=/cache/kernels TRITON_CACHE_DIR=/cache/triton HF_HUB_CACHE=/cache/hub ROS_LOG_DIR=/cache/log
RUN useradd --create-home --uid 10001 --groups video robot && install -d -o robot /cache
USER 10001
VOLUME /cache
ENTRYPOINT ["/venv/bin/with-ros"]
CMD ["depth-retrofit", "run"]
