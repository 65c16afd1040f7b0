#!/usr/bin/env python3
"""Each coarse engine that is installed, in each of its precisions, beside eager float32: time, accuracy, start, memory.

OMP_NUM_THREADS=1 python benchmarks/coarse_engines.py --threads 1 --json benchmarks/results/coarse_engines.json \\
    --photos FOLDER --meter-weights FOLDER

The engines take turns in one process, so that what else the machine does hits all alike. On a machine that is not idle compare CPU
times, on one thread: torch's threads wait for one another where the others' do not, and wall times then flatter the others.
``depth-anything-v2-small`` has random weights: its times are those of the real one, its differences are not. What each start takes
is measured in processes of their own: the first with an empty folder of engine files, the second with what the first left there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction
from depth_retrofit_ros.coarse.engines.base import Source
from depth_retrofit_ros.coarse.engines.compiled import CompiledNetwork
from depth_retrofit_ros.coarse.engines.natural_image import natural_image
from depth_retrofit_ros.coarse.engines.registry import ENGINES, load_engine, missing_packages
from depth_retrofit_ros.coarse.input_size import long_side
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.device.precisions import type_named
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.io.photos import read_photo
from depth_retrofit_ros.selection.contrast import contrast
from depth_retrofit_ros.selection.uncertainty import uncertainty
from depth_retrofit_ros.training.views import resized

FRAME = (1440, 2560)
CASES = ("compact", "meter-nyu", "depth-anything-v2-small 700x392", "depth-anything-v2-small 924x518")
RUNS = (
    ("eager", "float32"),
    ("eager", "bfloat16"),
    ("inductor", "float32"),
    ("inductor", "bfloat16"),
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
)
SELECTED = 0.1


def make(case: str, meter: Path | None) -> Any:
    """The case's model, eager."""
    name, _, size = case.partition(" ")
    if name.startswith("depth-anything"):
        from depth_retrofit_ros.bench.random_models import random_model

        model = random_model("small", torch.device("cpu"))
        model.size = long_side(int(size.partition("x")[0]), 14)
        return model
    return load_coarse(name, weights=meter if name == "meter-nyu" else None, device="cpu")


class Unchecked(CompiledNetwork):
    """One whose program is not refused: how far off it is, is what is measured."""

    def _made(self, inputs: tuple[torch.Tensor, ...]) -> Any:
        return self.engine.compile(self.network, inputs, self.precision, self.source)


def with_engine(network: Any, case: str, run: tuple[str, str]) -> Any:
    """The network, run by an engine in a precision."""
    if run == RUNS[0]:
        return network
    return Unchecked(network, load_engine(run[0]), type_named(run[1]), Source(case, "benchmark"))


def start(case: str, run: tuple[str, str], meter: Path | None) -> dict[str, float]:
    """From a process that has imported torch to the first answer, model included; and what memory the process then holds."""
    begin_s = time.perf_counter()
    model = make(case, meter)
    model.network = with_engine(model.network, case, run)
    with torch.inference_mode():
        model.predict(natural_image(*FRAME), None)
    status = Path("/proc/self/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    return {"s": round(time.perf_counter() - begin_s, 2), "resident_mb": round(resident * 1024 / 1e6)}


def starts(case: str, run: tuple[str, str], args: argparse.Namespace) -> dict[str, float]:
    """The first and the second start."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {"DEPTH_RETROFIT_ENGINES": folder, "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor"}
        command = [sys.executable, __file__, "--start", case, *run, "--threads", str(args.threads)]
        if args.meter_weights:
            command += ["--meter-weights", str(args.meter_weights)]
        answers = [
            json.loads(subprocess.run(command, env=os.environ | kept, check=True, capture_output=True).stdout) for _ in range(2)
        ]
    return {"first_start_s": answers[0]["s"], "second_start_s": answers[1]["s"], "resident_mb": answers[1]["resident_mb"]}


def photo(path: Path) -> torch.Tensor:
    """Its middle, as a frame ``uint8 [H, W, 3]``."""
    image = read_photo(path).image
    height = min(image.shape[0], image.shape[1] * FRAME[0] // FRAME[1])
    width = min(image.shape[1], height * FRAME[1] // FRAME[0])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return torch.from_numpy(resized(image[top : top + height, left : left + width], FRAME).copy())


def differences(model: CoarseModel, runs: dict[str, Any], images: list[torch.Tensor]) -> dict[str, dict[str, float]]:
    """Of each run from the first: depth, relative; and the overlap of what is selected at the frame's cells. The worst photo's."""
    found: dict[str, dict[str, float]] = {}
    for image in images:
        answers = {}
        for name, network in runs.items():
            model.network = network  # type: ignore[attr-defined]
            answers[name] = model.predict(image, None)
        expected = answers[next(iter(runs))]
        for name, answer in answers.items():
            error = ((answer.depth - expected.depth).abs() / expected.depth).flatten().sort().values
            ratio = (answer.depth / expected.depth).median()
            shape = (answer.depth / ratio / expected.depth - 1).abs().median()
            both = selected(answer, image) & selected(expected, image)
            row = {
                "largest": float(error[-1]),
                "p99": float(error[round(0.99 * (len(error) - 1))]),
                "median": float(error.median()),
                "median_up_to_scale": float(shape),
                "lost": 1 - float(both.sum() / selected(expected, image).sum()),
            }
            worst = found.setdefault(name, dict.fromkeys(row, 0.0))
            found[name] = {key: max(value, worst[key]) for key, value in row.items()}
    return found


def selected(answer: CoarsePrediction, image: torch.Tensor) -> torch.Tensor:
    """``bool [n]``: the tenth of the cells that is refined."""
    score = uncertainty(answer, contrast(image, (answer.depth.shape[0], answer.depth.shape[1]))).flatten()
    return torch.zeros_like(score, dtype=torch.bool).index_fill(0, score.topk(round(SELECTED * len(score))).indices, True)


def measure(case: str, args: argparse.Namespace) -> dict[str, Any]:
    """All runs of a case, in turns."""
    model = make(case, args.meter_weights)
    names = {run: f"{run[0]} {run[1]}" for run in RUNS if run[0] in args.engines and not missing_packages(ENGINES[run[0]])}
    if "924" in case:
        names = {run: name for run, name in names.items() if run[0] != "inductor"}  # minutes of compiling; see the smaller size
    images = [photo(path) for path in sorted(args.photos.glob("*.jpg"))[: args.most_photos]]
    rows: dict[str, dict[str, Any]] = {}
    if args.starts:
        for run, name in names.items():
            print(f"{case}: {name}: two starts", flush=True)
            rows[name] = dict(starts(case, run, args))
    network = model.network
    runs = {}
    with torch.inference_mode():
        for run, name in names.items():
            model.network = with_engine(network, case, run)
            try:
                model.predict(natural_image(*FRAME), None)
            except ModelError as error:
                print(f"{case}: {name}: {error}", flush=True)
                continue
            runs[name] = model.network
        recorder: list[tuple[torch.Tensor, ...]] = []

        def recorded(*inputs: torch.Tensor) -> Any:
            recorder.append(inputs)
            return network(*inputs)

        model.network = recorded
        model.predict(natural_image(*FRAME), None)
        inputs = recorder[0]
        times: dict[str, list[float]] = {name: [] for name in runs}
        cpu_times: dict[str, list[float]] = {name: [] for name in runs}
        end_s, rounds = time.perf_counter() + args.seconds, 0
        while rounds < 3 or (time.perf_counter() < end_s and rounds < args.rounds):
            rounds += 1
            for name, program in runs.items():
                begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
                program(*inputs)
                cpu_times[name].append(1e3 * (time.process_time() - begin_cpu_s))
                times[name].append(1e3 * (time.perf_counter() - begin_s))
        off = differences(model, runs, images)
    eager = sorted(times["eager float32"])
    for name, values in times.items():
        values.sort()
        median, least = values[len(values) // 2], values[0]
        row = {"ms_p50": round(median, 2), "ms_min": round(least, 2), "ratio_p50": round(eager[len(eager) // 2] / median, 2)}
        row["ratio_min"] = round(eager[0] / least, 2)
        cpu = {key: sorted(entries)[len(entries) // 2] for key, entries in cpu_times.items()}
        row |= {"cpu_ms_p50": round(cpu[name], 2), "ratio_cpu": round(cpu["eager float32"] / cpu[name], 2)}
        rows[name] = rows.get(name, {}) | row | {key: float(f"{value:.2e}") for key, value in off[name].items()}
        rows[name]["selection_overlap"] = round(1 - off[name]["lost"], 4)
        del rows[name]["lost"]
        print(f"{case}: {name:20} {json.dumps(rows[name])}", flush=True)
    return {"input": list(inputs[0].shape), "rounds": rounds, "photos": len(images), "engines": rows}


def main() -> None:
    """Print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="real photos, for the differences")
    parser.add_argument("--most-photos", type=int, default=4)
    parser.add_argument("--meter-weights", type=Path, metavar="PATH")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40, help="calls of each at most (default: 40)")
    parser.add_argument("--seconds", type=float, default=40.0, help="a case stops after so long (default: 40)")
    parser.add_argument("--starts", action="store_true", help="two starts of each, too: minutes, most of them inductor's")
    parser.add_argument("--start", nargs=3, metavar=("CASE", "ENGINE", "PRECISION"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.start:
        print(json.dumps(start(args.start[0], tuple(args.start[1:]), args.meter_weights)))
        return
    stored = json.loads(args.json.read_text()) if args.json.is_file() else {"cases": {}}
    stored["machine"] = f"{machine()}, {args.threads} threads, torch {torch.__version__}"
    for case in args.cases:
        made = measure(case, args)
        before = stored["cases"].get(case, {}).get("engines", {})
        made["engines"] = {name: before.get(name, {}) | row for name, row in made["engines"].items()}
        stored["cases"][case] = made
        args.json.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
