"""On whose word depth is metric, and that the registry's models say it of themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from depth_retrofit_ros.coarse.claim import FEWEST_PROMPTS, RENDERED_SCENES, ScaleClaim, stored_claim
from depth_retrofit_ros.coarse.registry import MODELS
from depth_retrofit_ros.frame import SparseDepth


@pytest.mark.parametrize(
    ("claim", "alone", "trusted", "told"),
    [
        (ScaleClaim("metric", "camera"), "model", "model", "metric for any camera with a known focal length"),
        (ScaleClaim("metric", "one camera", "a Kinect"), None, "user", "metric for a Kinect only"),
        (ScaleClaim("metric", "domain", "streets"), None, "user", "metric for streets only"),
        (ScaleClaim("metric", "sensor"), None, None, "metric where sparse depth prompts it"),
        (ScaleClaim("metric", "file"), "file", "file", "metric on the word of its file"),
        (ScaleClaim("up-to-scale", "never"), None, None, "relative, up to an unknown scale"),
        (ScaleClaim("disparity", "never"), None, None, "relative, up to an unknown scale and shift"),
    ],
)
def test_whose_word_it_is(claim: ScaleClaim, alone: str | None, trusted: str | None, told: str) -> None:
    assert (claim.source(trust_scale=False), claim.source(trust_scale=True)) == (alone, trusted)
    assert str(claim) == told
    assert claim.inverse is (claim.kind == "disparity")


@pytest.mark.parametrize(
    "claim",
    [
        ("metric", "never"),
        ("disparity", "camera"),
        ("disparity", "sensor"),
        ("up-to-scale", "domain", "streets"),
        ("metric", "domain"),
        ("metric", "one camera"),
        ("metric", "camera", "streets"),
    ],
)
def test_a_claim_that_contradicts_itself_cannot_be_made(claim: Any) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        ScaleClaim(*claim)


def test_a_sensor_s_word_takes_a_sensor_that_sees_enough() -> None:
    claim, whole = ScaleClaim("metric", "sensor"), SparseDepth(np.arange(FEWEST_PROMPTS), np.ones(FEWEST_PROMPTS))
    assert claim.source(False, whole) == "sensor"
    assert claim.source(True, SparseDepth(*(values[1:] for values in whole))) is None
    assert ScaleClaim("metric", "camera").source(False, whole) == "model"
    assert ScaleClaim("disparity", "never").source(False, whole) is None


def test_small_models_are_not_metric_by_themselves() -> None:
    """They were trained on one camera or one kind of scenes: on others they are off by factors."""
    words = {
        "compact": "domain",
        "meter-nyu": "one camera",
        "meter-kitti": "one camera",
        "depth-anything-v2-small": "never",
        "depth-anything-v2-small-indoor": "domain",
        "depth-anything-v2-small-outdoor": "domain",
    }
    assert {name: MODELS[name].claim.word for name in words} == words
    assert MODELS["compact"].claim.where == RENDERED_SCENES


def test_a_stored_map_that_does_not_say_that_it_is_metric_is_taken_for_disparity() -> None:
    assert stored_claim(metric=True).source(trust_scale=False) == "file"
    assert stored_claim(metric=False) == ScaleClaim("disparity", "never")
