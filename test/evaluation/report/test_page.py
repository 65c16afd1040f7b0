"""The report is one file that shows everything, and its pictures show what they say."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.claim import stored_claim
from depth_retrofit_ros.coarse.stored import StoredCoarse
from depth_retrofit_ros.evaluation.data.dataset import Sample
from depth_retrofit_ros.evaluation.evaluator import METHODS, Evaluated, Evaluator, with_oracles
from depth_retrofit_ros.evaluation.report import pictures
from depth_retrofit_ros.evaluation.report.page import Report, pictures_of
from depth_retrofit_ros.evaluation.report.results import image_entry, summarize
from depth_retrofit_ros.evaluation.report.zoomable import Gallery
from depth_retrofit_ros.io.color_map import UNKNOWN_RGB
from test.evaluation.scenes import coarse_of, sample
from test.refinement.nets import random_refiner
from test.ros.view.chromium import PROGRAM, Chromium
from test.waiting import wait_until

FACTS = {"align": "median", "budget": 0.1, "model": "a <model>", "device": "cpu", "valid_m": [0.001, None], "notes": {"x": "1 < 2"}}
VOID = {"meta", "img", "input"}


class Page(HTMLParser):
    """Collects tags and texts, and checks that every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.images += [str(value) for name, value in attrs if name == "src"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


@pytest.fixture
def result(tmp_path: Path) -> Evaluated:
    return evaluated(sample(tmp_path))


def evaluated(scene: Sample) -> Evaluated:
    coarse = torch.from_numpy(coarse_of(scene.depth))
    model = StoredCoarse(
        CoarsePrediction(coarse, torch.zeros(1, *coarse.shape)), has_features=False, claim=stored_claim(metric=True)
    )
    return Evaluator(random_refiner(), 0.1, "none")(scene, model)


def page(results: list[Evaluated]) -> tuple[str, Page]:
    report = Report()
    for number, one in enumerate(results):
        report.add(one.sample.name, pictures_of(one, number))
    text = report.html(summarize([image_entry(one) for one in results], FACTS))
    return text, Page(text)


def test_the_page_is_whole_and_fetches_nothing(result: Evaluated) -> None:
    text, parsed = page([result])
    assert text.startswith("<!DOCTYPE html>") and not parsed.open
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    assert all("://" not in str(value) for _, value in parsed.attributes) and "@import" not in text
    assert len(parsed.images) == 7 + 2 * 6
    for source in parsed.images:
        kind, _, data = source.partition(",")
        assert kind in ("data:image/jpeg;base64", "data:image/png;base64")
        assert cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR) is not None
    assert set(METHODS) <= set(parsed.cells) and "a <model>: depth of 1 image" in parsed.cells and "x: 1 < 2" in parsed.cells


def test_a_click_enlarges_each_picture_and_another_one_closes_it(result: Evaluated) -> None:
    text, _ = page([result, evaluated(Sample("another", result.sample.frame, result.truth))])
    names = re.findall(r'<input type="radio" name="([^"]+)" id="([^"]+)"( checked)?', text)
    buttons = {number: name for name, number, _ in names}
    assert len(buttons) == len(names) == 2 * (1 + 7 + 2 * 6) and len(set(buttons.values())) == 2  # each image is a group
    assert [number for _, number, checked in names if checked] == ["pictures-0:none", "pictures-1:none"]
    opened = re.findall(r'<label class="open" for="([^"]+)"><img', text)
    assert sorted(opened) == sorted(number for number in buttons if not number.endswith(":none"))
    closed = re.findall(r'<label class="close" for="([^"]+)">', text)
    assert len(closed) == len(opened) and set(closed) == {"pictures-0:none", "pictures-1:none"}


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed (apt install chromium)")
def test_a_browser_enlarges_them(result: Evaluated, tmp_path: Path) -> None:
    pytest.importorskip("websockets", reason="websockets is not installed (extra `web`)")
    text, _ = page([result])
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    large = "[...document.images].filter(i => i.getBoundingClientRect().width == innerWidth).map(i => i.alt).join()"
    with Chromium(tmp_path / "profile", (tmp_path / "page.html").as_uri()) as browser:
        wait_until(lambda: browser.evaluate("document.readyState == 'complete' && document.images.length") == 7 + 2 * 6, "the page")
        assert browser.evaluate(large) == ""
        browser.evaluate("document.images[2].scrollIntoView({block: 'center'})")
        x, y = browser.evaluate("(b => [b.x + b.width / 2, b.y + b.height / 2])(document.images[2].getBoundingClientRect())")
        browser.click(x, y)
        assert browser.evaluate(large) == "coarse (bilinear)"
        browser.press("ArrowRight")
        assert browser.evaluate(large) == "refined"
        browser.click(x, y)
        assert browser.evaluate(large) == "" and not browser.errors


def test_pictures_are_embedded_larger_than_they_are_shown() -> None:
    wide, few = np.zeros((900, 1800, 3), np.uint8), np.arange(12 * 16 * 3, dtype=np.uint16).astype(np.uint8).reshape(12, 16, 3)
    gallery = Gallery("a")
    html = gallery.photo("wide", wide, 440, 1280, 80) + gallery.pixels("few", few, 256)
    assert re.findall(r'width="(\d+)" height="(\d+)"', html) == [("440", "220"), ("256", "192")]
    embedded = [base64.b64decode(data) for data in re.findall(r'base64,([^"]+)"', html)]
    first, second = (cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in embedded)
    assert first is not None and first.shape == (640, 1280, 3)
    assert second is not None and np.array_equal(second[..., ::-1], few)  # these as they are


def test_the_best_of_each_column_is_bold(result: Evaluated) -> None:
    text, _ = page([result])
    entry = image_entry(result)
    values = [figures["edge_abs_rel"] for figures in entry["methods"].values() if figures]
    assert f'<td class="best">{min(values):.4g}</td>' in text and f'<td class="best">{max(values):.4g}</td>' not in text


def test_an_oracle_does_not_compete(result: Evaluated) -> None:
    text, parsed = page([with_oracles(result)])
    entry = image_entry(result)
    assert "attainable" in parsed.cells
    best = min(figures["edge_abs_rel"] for figures in entry["methods"].values() if figures)
    assert f'<td class="best">{best:.4g}</td>' in text


def test_the_classes_are_told_with_their_errors(result: Evaluated) -> None:
    _, parsed = page([result])
    thin = image_entry(result)["classes"]["thin"]
    start = parsed.cells.index("thin")
    wanted = [
        f"{thin['share']:.1%}",
        f"{thin['selected']:.1%}",
        *(f"{thin['log_error'][m]:.4g}" for m in ("bilinear", "base", "refined")),
    ]
    assert parsed.cells[start + 1 : start + 6] == wanted


def test_a_page_without_truth(result: Evaluated) -> None:
    unknown = evaluated(Sample("nothing known", result.sample.frame, np.full_like(result.truth, np.nan)))
    _, parsed = page([unknown, result])
    assert not parsed.open and len(parsed.images) == 7 + 7 + 2 * 6  # no edges, no crops
    assert "–" in parsed.cells


def test_error_picture_by_hand() -> None:
    picture = pictures.error_picture(np.array([[0.0, np.log(1.5), 9.0, np.nan]], np.float32))
    assert picture[0, 0].max() < 10 and (picture[0, 1] == picture[0, 2]).all() and picture[0, 1].sum() > 500
    assert tuple(picture[0, 3]) == UNKNOWN_RGB


def test_selection_picture_marks_what_was_missed(result: Evaluated) -> None:
    picture = pictures.selection_picture(result)
    missed = result.high_error & ~result.selected
    assert missed.any() and result.selected.any()
    assert (picture[missed] == pictures.MISSED_RGB).all()
    assert not (picture[~missed] == pictures.MISSED_RGB).all(-1).any()


def test_crops_are_where_the_errors_changed_as_told(result: Evaluated) -> None:
    crops = pictures.edge_crops(result)
    assert set(crops) == {"best", "worst"}
    for crop in crops.values():
        window = (slice(crop.y, crop.y + crop.side), slice(crop.x, crop.x + crop.side))
        where = result.band[window] & np.isfinite(result.truth[window])
        for method, told in (("bilinear", crop.before), ("refined", crop.after)):
            assert pictures.log_error(result, method)[window][where].mean() == pytest.approx(told, rel=1e-4)
        assert all(picture.shape == (crop.side, crop.side, 3) for picture in crop.pictures.values())
    assert crops["worst"].after >= crops["best"].after
    assert crops["best"].before - crops["best"].after >= crops["worst"].before - crops["worst"].after
