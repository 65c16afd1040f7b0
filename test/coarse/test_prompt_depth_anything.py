"""Prompt Depth Anything: what sparse depth does to its answer, and on whose word that is in metres."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse import prompt_depth_anything
from depth_retrofit_ros.coarse.base import Hints
from depth_retrofit_ros.coarse.claim import FEWEST_PROMPTS
from depth_retrofit_ros.coarse.dense_prompt import dense_prompt
from depth_retrofit_ros.frame import Frame, SparseDepth
from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner
from depth_retrofit_ros.retrofit import Retrofit
from test.coarse import tiny_networks as tiny
from test.coarse.families import CPU, FAMILIES, image, model_of

pytest.importorskip("transformers")


def _sparse(height: int, width: int, count: int = 400) -> SparseDepth:
    rng = np.random.default_rng(3)
    pixels = rng.choice(height * width, count, replace=False)
    return SparseDepth(pixels, 2.0 + 6.0 * rng.random(count))


def test_a_prompt_s_metres_by_the_library() -> None:
    model, sparse = model_of(FAMILIES["prompt"]), _sparse(90, 120)
    depth = model.predict(image(90, 120), None, Hints(0, sparse)).depth
    prompt = dense_prompt(sparse, 90, 120)
    metres = torch.from_numpy(prompt.depth * (prompt.far - prompt.near) + prompt.near).float()[None, None]
    with torch.no_grad():
        net: Any = tiny.prompt_depth_anything()
        expected = net(pixel_values=model.planes(image(90, 120)), prompt_depth=metres).predicted_depth[0]
    torch.testing.assert_close(depth, expected, rtol=1e-4, atol=1e-4)
    assert float(depth.min()) >= prompt.near - 1e-4 and float(depth.max()) <= prompt.far + 1e-4


def test_a_prompt_in_another_unit_is_answered_in_it() -> None:
    model, sparse = model_of(FAMILIES["prompt"]), _sparse(90, 120)
    depth = model.predict(image(90, 120), None, Hints(0, sparse)).depth
    tenfold = model.predict(image(90, 120), None, Hints(0, SparseDepth(sparse.pixels, 10 * sparse.depth))).depth
    torch.testing.assert_close(tenfold, 10 * depth, rtol=1e-4, atol=1e-4)


def test_too_few_depths_are_no_prompt() -> None:
    model = model_of(FAMILIES["prompt"])
    alone = model.predict(image(90, 120), None).depth
    few = model.predict(image(90, 120), None, Hints(0, _sparse(90, 120, FEWEST_PROMPTS - 1))).depth
    torch.testing.assert_close(few, alone, rtol=0, atol=0)
    assert not torch.equal(model.predict(image(90, 120), None, Hints(0, _sparse(90, 120, FEWEST_PROMPTS))).depth, alone)


def test_a_prompted_network_can_be_exported() -> None:
    network = prompt_depth_anything.PromptNetwork(tiny.prompt_depth_anything())
    planes, prompt = torch.randn(1, 3, 56, 84), torch.rand(1, 1, 24, 32)
    with torch.no_grad():
        answer, features = network(planes, prompt)
        got = torch.export.export(network, (planes, prompt)).module()(planes, prompt)
    torch.testing.assert_close(got, (answer, features), rtol=1e-5, atol=1e-5)


def test_a_frame_is_metric_on_the_sensor_s_word_where_it_is_prompted() -> None:

    retrofit = Retrofit(model_of(FAMILIES["prompt"]), load_sparse_refiner(None, CPU, "torch"), budget=0.0)
    assert retrofit.uses_sparse
    pixels = image(90, 120).numpy()
    assert retrofit(Frame(pixels, sparse=_sparse(90, 120))).scale_source == "sensor"
    for frame in (Frame(pixels), Frame(pixels, camera=Camera.from_hfov(120, 90, 60.0)), Frame(pixels, sparse=_sparse(90, 120, 5))):
        assert retrofit(frame).scale_source is None
