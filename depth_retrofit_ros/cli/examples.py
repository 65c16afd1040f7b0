"""What ``--help`` ends with: examples of each command, and what they have in common. Every example is parsed by a test."""

from __future__ import annotations

import textwrap

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "demo": (
        ("does it run here? a live page meanwhile, a moving picture at the end", "depth-retrofit demo --out out/demo"),
        (
            "smaller and shorter, on a domain that rviz can join",
            "depth-retrofit demo --seconds 5 --width 1280 --height 720 --domain 7 --out out/small",
        ),
    ),
    "run": (
        (
            "the best model that is here on a camera's topics",
            "depth-retrofit run --image-topic /camera/image_rect --info-topic /camera/camera_info",
        ),
        (
            "metres from a depth camera, and at least 10 Hz",
            "depth-retrofit run --target-fps 10 --ros-args -p align:=scale-shift -r sparse_depth:=/camera/depth",
        ),
        ("a webcam, without a camera driver of ROS", "depth-retrofit run --camera 0 --hfov 69"),
    ),
    "view": (
        ("in any browser, beside a node that runs", "depth-retrofit view --web"),
        ("in Foxglove or Lichtblick", "depth-retrofit view"),
        ("recorded until Ctrl-C", "depth-retrofit view --out look"),
    ),
    "image": (
        ("one photo: depth, preview and cloud", "depth-retrofit image photo.jpg --out out/photo --ply"),
        (
            "in metres, by a model that is metric for any camera",
            "depth-retrofit image photo.jpg --out out/photo --hfov 69 --model moge-2-small",
        ),
        ("refine the depth maps of another program", "depth-retrofit image photo.jpg --out out/photo --coarse maps"),
    ),
    "video": (
        ("camera beside depth, as one video", "depth-retrofit video in.mp4 --out out.mp4"),
        (
            "depth held steady, and every frame's as a 16-bit PNG",
            "depth-retrofit video in.mp4 --out out.mp4 --temporal on --depth out",
        ),
    ),
    "batch": (
        ("everything in a folder, and go on after an interruption", "depth-retrofit batch recordings --out out/depth --resume"),
        (
            "bags of a server, two workers on each GPU of a cluster",
            "depth-retrofit batch sftp://fleet/bags --out sftp://fleet/depth --on ray://head:10001 --gpus-per-worker 0.5",
        ),
    ),
    "reconstruct": (
        ("photos of one scene, as one cloud", "depth-retrofit reconstruct a.jpg b.jpg c.jpg --out out/scene"),
        ("from another program's predictions", "depth-retrofit reconstruct a.jpg b.jpg --out out/scene --coarse predictions"),
    ),
    "replay": (
        ("as on a robot, twice as fast", "depth-retrofit replay my_bag --realtime --rate 2 --out out/replay"),
        (
            "every frame, compared with a depth camera's",
            "depth-retrofit replay my_bag --every-frame --depth-topic /depth --align scale-shift --out out/replay",
        ),
    ),
    "evaluate": (
        (
            "the method beside its baselines, as figures and as a page",
            "depth-retrofit evaluate frames --model compact --json out.json --html out.html",
        ),
        (
            "another refiner, and what a perfect one would reach",
            "depth-retrofit evaluate frames --refiner runs/mine/refiner.safetensors --oracles",
        ),
    ),
    "bench": (
        ("everything, in some minutes", "depth-retrofit bench --json bench.json"),
        ("the node alone at the size of your camera", "depth-retrofit bench --json bench.json --parts node --node-size 1280x720"),
    ),
    "train": (
        ("the coarse model, on rendered rooms", "depth-retrofit train compact --out runs/compact"),
        (
            "the sparse refiner for a model of yours, an hour at most",
            "depth-retrofit train refiner --coarse compact --minutes 60 --out runs/refiner",
        ),
        ("go on where it was stopped", "depth-retrofit train refiner --coarse compact --minutes 60 --out runs/refiner --resume"),
    ),
    "models": (
        ("what there is, under which licence, and what is here", "depth-retrofit models"),
        ("for programs", "depth-retrofit models --json"),
    ),
    "models fetch": (
        ("from the hub, pinned and checked", "depth-retrofit models fetch moge-2-small"),
        ("from a folder that another machine filled", "depth-retrofit models fetch moge-2-small --from /media/stick"),
    ),
    "models export": (
        ("for images of 16:9", "depth-retrofit models export compact --onnx compact.onnx"),
        (
            "for a camera of 4:3, at half the usual input",
            "depth-retrofit models export compact --onnx compact.onnx --image-size 640x480 --coarse-size 128",
        ),
    ),
    "messages": (("after pip install, once", "depth-retrofit messages"),),
    "kernels": (("after pip install, once", "depth-retrofit kernels"),),
    "completion": (
        ("for this shell; in ~/.bashrc for all", 'eval "$(depth-retrofit completion)"'),
        ("in zsh", 'autoload -U compinit bashcompinit && compinit && bashcompinit && eval "$(depth-retrofit completion)"'),
    ),
}

COMMON = """\
Each command has its own help with examples: depth-retrofit COMMAND --help

exit codes:
  0    done
  1    done in part, or without any answer; what failed was told on standard error
  2    wrong usage, or something of the user's that cannot be used: one line says what to do
  130  interrupted (SIGINT); commands that run until then end with 0
  143  ended (SIGTERM); likewise

environment:
  DEPTH_RETROFIT_WEIGHTS        folder of checkpoints, beside the hub's cache
  DEPTH_RETROFIT_COARSE_ENGINE  what 'auto' means as --coarse-engine
  DEPTH_RETROFIT_ENGINES        folder of the coarse engines' programs
  HF_HUB_CACHE, HF_ENDPOINT     the hub's cache, and a mirror of the hub
  ROS_DOMAIN_ID, ROS_LOG_DIR    as everywhere in ROS 2
"""

WIDTH = 100


def epilogue(words: str) -> str:
    """What the help of this command ends with."""
    if not words:
        return COMMON
    told = "".join(f"  # {why}\n{_wrapped(command)}\n" for why, command in EXAMPLES.get(words, ()))
    return told and f"examples:\n{told}"


def _wrapped(command: str) -> str:
    """A line for the shell, or several with a backslash between them."""
    lines = textwrap.wrap(command, WIDTH - 8, break_long_words=False, break_on_hyphens=False)
    return "  " + " \\\n      ".join(lines)
