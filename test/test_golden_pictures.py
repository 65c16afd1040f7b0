"""The pictures that people look at, against stored ones; and that a real change of any of them is seen."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.evaluation.baselines.upsampling import UPSAMPLERS
from depth_retrofit_ros.evaluation.data.dataset import Sample
from depth_retrofit_ros.evaluation.evaluator import METHODS, Evaluated
from depth_retrofit_ros.evaluation.metrics.classes import pixel_classes
from depth_retrofit_ros.evaluation.metrics.coverage import BUDGETS
from depth_retrofit_ros.evaluation.metrics.seams import Seams
from depth_retrofit_ros.evaluation.report import comparison
from depth_retrofit_ros.evaluation.report.contact_sheet import contact_sheet as make_sheet
from depth_retrofit_ros.evaluation.report.page import Report, pictures_of
from depth_retrofit_ros.evaluation.report.results import image_entry, summarize
from depth_retrofit_ros.evaluation.sequence import Answer, measure, upsampled
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io import color_map
from depth_retrofit_ros.io.color_map import colorize
from test import golden_pictures
from test.evaluation.scenes import CAMERA, coarse_of, truth


@cache
def depth() -> np.ndarray:
    """Ground, disc, wire and sky; and a hole of unknown depth."""
    known = truth()
    known[60:70, 10:30] = np.nan
    return known


@cache
def image() -> np.ndarray:
    """The same in colors of their own: no channel is another one."""
    near = np.clip(255 / np.where(np.isfinite(depth()), depth(), 8.0), 0, 255)
    x = np.broadcast_to(np.linspace(0, 255, near.shape[1]), near.shape)
    return np.stack((near, 255 - near / 2, x), axis=2).astype(np.uint8)


@cache
def coarse() -> np.ndarray:
    return coarse_of(truth())


@cache
def refined() -> np.ndarray:
    """Right to two percent, but in the upper right quarter, where it is as coarse as the input."""
    out = np.where(np.isfinite(truth()), 1.02 * truth(), 50.0).astype(np.float32)
    bilinear = UPSAMPLERS["bilinear"](image(), torch.from_numpy(coarse()))
    out[:48, 64:] = bilinear[:48, 64:]
    return out


def preview() -> np.ndarray:
    return colorize(depth())


def contact_sheet() -> np.ndarray:
    answer = Answer(Frame(image()), refined(), coarse(), True, None, None, None)
    return make_sheet(image(), upsampled(answer), None)


def contact_sheet_input_reference_error() -> np.ndarray:
    return contact_sheet_with_reference()[:96]


def contact_sheet_coarse_refined_error() -> np.ndarray:
    return contact_sheet_with_reference()[100:]


def contact_sheet_with_reference() -> np.ndarray:
    answer = Answer(Frame(image()), refined(), coarse(), True, None, depth(), 0)
    maps = upsampled(answer)
    return make_sheet(image(), maps, measure(answer, maps, "none"))


def what_refinement_gains() -> np.ndarray:
    maps = {name: UPSAMPLERS[name](image(), torch.from_numpy(coarse())) for name in ("nearest", "bilinear")}
    return comparison.picture(image(), {**maps, "refined": refined()}, depth(), panel_width=100)


def page_pictures() -> dict[str, np.ndarray]:
    """The pictures that the evaluation's page holds, in its order, as a browser decodes them."""
    maps = {name: upsampler(image(), torch.from_numpy(coarse())) for name, upsampler in UPSAMPLERS.items()}
    maps["refined"] = refined()
    reference = np.where(np.isfinite(depth()), depth(), np.float32(np.nan))
    wrong = np.abs(np.log(maps["bilinear"] / reference)) > 0.1
    band = np.zeros(depth().shape, bool)
    band[30:80, 20:110] = True
    selected = wrong.copy()
    selected[:48, 64:] = False
    figures = dict.fromkeys(("edge_abs_rel", "flat_abs_rel", "see", "boundary_f1", "abs_rel", "rmse", "silog", "delta1", "ms"), 0.5)
    result = Evaluated(
        Sample("scene", Frame(image(), camera=CAMERA), reference),
        {name: figures for name in METHODS},
        dict.fromkeys(BUDGETS, 0.5),
        {},
        maps,
        coarse(),
        reference,
        band,
        wrong,
        selected,
        pixel_classes(reference, 8),
        Seams((), ()),
        None,
        0.0,
    )
    report = Report()
    report.add(result.sample.name, pictures_of(result, 0))
    facts = {"align": "none", "budget": 0.1, "model": "m", "device": "cpu", "valid_m": [0.001, None], "notes": {}}
    html = report.html(summarize([image_entry(result)], facts))
    found = re.findall(r'alt="([^"]*)" src="data:image/(?:jpeg|png);base64,([^"]*)"', html)
    return {f"{number} {title}": decoded(data) for number, (title, data) in enumerate(found)}


def decoded(data: str) -> np.ndarray:
    """RGB, of base64."""
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.ascontiguousarray(picture[..., ::-1])


def page_overviews() -> np.ndarray:
    """Input, truth, coarse and refined depth, selection and errors."""
    return row_of(list(page_pictures().values())[:7], (64, 48))


def page_crops() -> np.ndarray:
    """The six crops at the best edges above those at the worst."""
    crops = list(page_pictures().values())[7:]
    return np.concatenate((row_of(crops[:6], (40, 40)), row_of(crops[6:], (40, 40))))


def row_of(pictures: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Small ones side by side."""
    return np.concatenate([cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures], axis=1)


PICTURES: dict[str, Callable[[], np.ndarray]] = {
    make.__name__: make
    for make in (
        preview,
        contact_sheet,
        contact_sheet_input_reference_error,
        contact_sheet_coarse_refined_error,
        what_refinement_gains,
        page_overviews,
        page_crops,
    )
}


TITLED = re.compile("contact_sheet|what_refinement_gains")


@pytest.mark.parametrize("name", PICTURES)
def test_it_is_the_stored_one(name: str) -> None:
    if TITLED.match(name) and not cv2.__version__.startswith("5."):
        pytest.skip("the stored pictures have titles in the letters of OpenCV 5")
    golden_pictures.check(name, PICTURES[name]())


def test_each_stored_picture_is_of_a_test_and_small() -> None:
    files = list(golden_pictures.STORED.iterdir())
    assert {path.stem for path in files} == PICTURES.keys()
    assert max(path.stat().st_size for path in files) <= golden_pictures.LARGEST


def swapped_channels(picture: np.ndarray) -> np.ndarray:
    return picture[..., ::-1]


def shifted(picture: np.ndarray) -> np.ndarray:
    return np.roll(picture, 1, axis=1)


@pytest.mark.parametrize("change", [swapped_channels, shifted])
@pytest.mark.parametrize("name", PICTURES)
def test_a_change_of_the_picture_is_seen_and_left_to_look_at(
    name: str, change: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    changed = change(PICTURES[name]())
    with pytest.raises(pytest.fail.Exception, match=rf"^{name} is not that of test/golden/{name}\.png: [0-9.]+% of the pixels"):
        golden_pictures.check(name, changed, failed=tmp_path)
    assert np.array_equal(golden_pictures.read(tmp_path / f"{name}.new.png"), changed // 8 * 8)
    assert golden_pictures.read(tmp_path / f"{name}.difference.png").shape == changed.shape


@pytest.mark.parametrize("name", PICTURES)
def test_another_color_map_is_seen(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = cv2.applyColorMap

    def with_another(values: np.ndarray, colors: int | np.ndarray, **out: np.ndarray) -> np.ndarray:
        """The next best: of those that OpenCV has the one that looks most alike."""
        another = {cv2.COLORMAP_TURBO: cv2.COLORMAP_JET, cv2.COLORMAP_INFERNO: cv2.COLORMAP_MAGMA}
        return apply(values, another[colors] if isinstance(colors, int) else colors, **out)

    monkeypatch.setattr(cv2, "applyColorMap", with_another)
    color_map.palette.cache_clear()
    try:
        with pytest.raises(pytest.fail.Exception, match="of the pixels are others"):
            golden_pictures.check(name, PICTURES[name](), failed=tmp_path)
    finally:
        color_map.palette.cache_clear()


def test_another_size_is_seen(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="127x96 instead of 128x96 pixels"):
        golden_pictures.check("preview", preview()[:, 1:], failed=tmp_path)


def test_rounding_is_not(tmp_path: Path) -> None:
    rounded = np.clip(preview().astype(int) + np.random.default_rng(0).integers(-1, 2, (96, 128, 3)), 0, 255).astype(np.uint8)
    golden_pictures.check("preview", rounded, failed=tmp_path)
    assert not list(tmp_path.iterdir())


def test_storing_anew_makes_the_picture_the_stored_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(golden_pictures.UPDATE_VARIABLE, "1")
    golden_pictures.check("preview", swapped_channels(preview()), stored=tmp_path)
    monkeypatch.delenv(golden_pictures.UPDATE_VARIABLE)
    golden_pictures.check("preview", swapped_channels(preview()), stored=tmp_path)
