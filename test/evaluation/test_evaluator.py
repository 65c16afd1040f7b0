"""The evaluation of one image and of a folder: methods, alignment, equal time, coverage, JSON and the command."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.claim import stored_claim
from depth_retrofit_ros.coarse.far_limit import limit_far
from depth_retrofit_ros.coarse.input_size import long_side
from depth_retrofit_ros.coarse.stored import StoredCoarse
from depth_retrofit_ros.evaluation.baselines import equal_time
from depth_retrofit_ros.evaluation.data.dataset import Sample
from depth_retrofit_ros.evaluation.evaluator import METHODS, Evaluated, Evaluator, figures_of, moved_far, seams_of, with_oracles
from depth_retrofit_ros.evaluation.metrics.alignment import Mode
from depth_retrofit_ros.evaluation.metrics.classes import CLASSES, UNKNOWN
from depth_retrofit_ros.evaluation.metrics.coverage import coverage
from depth_retrofit_ros.evaluation.metrics.edges import soft_edge_errors
from depth_retrofit_ros.evaluation.metrics.pointwise import abs_rel
from depth_retrofit_ros.evaluation.metrics.seams import Seams, seam_error
from depth_retrofit_ros.evaluation.oracles import ORACLES
from depth_retrofit_ros.evaluation.report.results import image_entry, summarize, to_json
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io.checkpoints import save_tensors
from depth_retrofit_ros.refinement.prv2.network import PatchRefinerV2
from depth_retrofit_ros.refinement.tiles.refiner import TileRefiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from test.evaluation.scenes import HEIGHT, WIDTH, Resizable, coarse_of, sample, truth, write_scene
from test.refinement.nets import random_network, random_refiner

KEYS = {"abs_rel", "rmse", "silog", "delta1", "edge_abs_rel", "flat_abs_rel", "see", "boundary_f1", "ms"}
KEYS |= {"dbe_accuracy", "dbe_completeness", "ce", "ce_beside"}
KEYS |= {"abs_rel_median", "abs_rel_p95", "edge_abs_rel_median", "edge_abs_rel_p95", "flat_abs_rel_p95", "see_median", "see_p95"}
FACTS = {"align": "median", "budget": 0.1, "model": "m", "device": "cpu", "valid_m": [0.001, None], "notes": {}}


def stored(depth: np.ndarray, scale: float = 1.0, metric: bool = True) -> StoredCoarse:
    coarse = torch.from_numpy(scale * coarse_of(depth))
    return StoredCoarse(CoarsePrediction(coarse, torch.zeros(1, *coarse.shape)), has_features=False, claim=stored_claim(metric))


@pytest.fixture
def scene(tmp_path: Path) -> Sample:
    return sample(tmp_path)


def test_every_method_is_measured_on_the_same_coarse_map(scene: Sample) -> None:
    evaluator = Evaluator(random_refiner(), 0.1, "none")
    result = evaluator(scene, stored(scene.depth))
    assert tuple(result.methods) == METHODS and result.methods["equal_time"] is None and result.equal_time_px is None
    for name in set(METHODS) - {"equal_time"}:
        figures = result.methods[name]
        assert figures is not None and set(figures) >= KEYS
        assert figures["abs_rel"] == pytest.approx(abs_rel(result.maps[name], scene.depth), rel=1e-5)
        assert figures["ms"] > 0 and figures["unknown_share"] == 0
    frame = Retrofit(stored(scene.depth), random_refiner(), 0.1)(scene.frame)
    assert np.array_equal(result.maps["refined"], frame.depth.numpy())
    assert np.array_equal(result.maps["base"], frame.base.numpy())
    assert np.array_equal(result.selected, frame.selection.mask().numpy())


def test_every_method_has_the_far_limit_of_the_node(scene: Sample) -> None:
    """Also what is selected: a sky far away is not the baselines' loss."""
    coarse = stored(scene.depth).prediction
    coarse.depth[:3] = 1e6
    limited_first = limit_far(coarse, stored_claim(metric=False))
    answers = (StoredCoarse(answer, has_features=False, claim=stored_claim(metric=False)) for answer in (limited_first, coarse))
    limited, raw = (Evaluator(random_refiner(), 0.1, "none")(scene, answer) for answer in answers)
    for name in limited.maps:
        assert np.array_equal(raw.maps[name], limited.maps[name]), name
    assert raw.coverage == limited.coverage


def test_the_model_alone_has_the_far_limit_too(scene: Sample) -> None:
    sky = scene.depth.copy()
    sky[:8] = 1e5
    alone = equal_time.predict_at(Resizable(sky), 64, scene.frame)
    assert float(np.nanmax(alone)) < 100


def test_edge_and_flat_figures_are_of_the_band_and_of_the_rest(scene: Sample) -> None:
    result = Evaluator(random_refiner(), 0.1, "none")(scene, stored(scene.depth))
    figures = result.methods["nearest"]
    assert figures is not None and scene.frame.camera is not None
    known = np.isfinite(scene.depth)
    share = (result.band & known).sum() / known.sum()
    assert share * figures["edge_abs_rel"] + (1 - share) * figures["flat_abs_rel"] == pytest.approx(figures["abs_rel"], rel=1e-5)
    assert figures["edge_abs_rel"] == pytest.approx(abs_rel(result.maps["nearest"], scene.depth, result.band), rel=1e-5)
    perfect = figures_of(truth(), scene.depth, result.band, scene.frame.camera.fx)
    assert perfect["abs_rel"] == perfect["see"] == 0 and perfect["delta1"] == 1 and perfect["boundary_f1"] > 0.5


def test_the_robust_figures_are_of_the_same_pixels_as_the_means(scene: Sample) -> None:
    result = Evaluator(random_refiner(), 0.1, "none")(scene, stored(scene.depth))
    figures, depth = result.methods["guided"], result.maps["guided"]
    assert figures is not None and scene.frame.camera is not None
    edge = result.band & np.isfinite(result.truth)
    relative = np.abs(depth[edge] - result.truth[edge]) / result.truth[edge]
    assert (figures["edge_abs_rel_median"], figures["edge_abs_rel_p95"]) == pytest.approx(np.percentile(relative, (50, 95)))
    soft = soft_edge_errors(depth, result.truth, scene.frame.camera.fx)
    assert (figures["see_median"], figures["see_p95"]) == pytest.approx(np.percentile(soft, (50, 95)))
    assert figures["see"] == pytest.approx(soft.mean(), rel=1e-5)


def test_only_the_baselines_that_are_asked_for_are_measured(scene: Sample) -> None:
    few = Evaluator(random_refiner(), 0.1, "none", upsamplers=("guided",))(scene, stored(scene.depth))
    assert [name for name, figures in few.methods.items() if figures is not None] == ["bilinear", "guided", "base", "refined"]
    everything = Evaluator(random_refiner(), 0.1, "none")(scene, stored(scene.depth))
    for name in few.maps:
        assert np.array_equal(few.maps[name], everything.maps[name])
    assert "nearest" not in image_entry(few)["alignment"]


def test_the_method_can_be_put_together_in_another_way(scene: Sample) -> None:
    class Unrefined(Retrofit):
        def select(
            self, coarse: CoarsePrediction, image: torch.Tensor, other: CoarsePrediction | None = None
        ) -> tuple[torch.Tensor, PixelSet]:
            score, pixels = super().select(coarse, image, other)
            return score, PixelSet.from_indices(pixels.indices[:0], pixels.size)

    result = Evaluator(random_refiner(), 0.1, "none", make=Unrefined)(scene, stored(scene.depth))
    assert not result.selected.any() and np.array_equal(result.maps["refined"], result.maps["base"])


def test_seams_are_those_of_the_refiner_s_tiles(scene: Sample) -> None:
    """Of a frame that is larger than a tile: a refiner of tiles has its own, any other those of 128 px that overlap by 16."""
    tall = Seams.of((96 * 3, 128 * 3), 128, 16)
    assert seams_of(random_refiner(), (96 * 3, 128 * 3)) == tall and tall.rows and tall.columns

    narrow = PatchRefinerV2({})
    narrow.side, narrow.overlap = 64, 8
    own = seams_of(TileRefiner(narrow, torch.device("cpu")), (96, 128))
    assert own == Seams.of((96, 128), 64, 8)
    result = with_oracles(Evaluator(TileRefiner(narrow, torch.device("cpu")), 0.5, "none")(scene, stored(scene.depth)))
    assert result.seams == own
    for name, depth in result.maps.items():
        figures = result.methods[name]
        assert figures is not None and figures["ce"] == seam_error(depth, result.truth, own, result.selected)
    bilinear, oracle = result.methods["bilinear"], result.methods["oracle"]
    assert bilinear is not None and oracle is not None and oracle["ce"] < bilinear["ce"]


def test_moved_far_by_hand() -> None:
    base = np.array([[1, 1, 1, 1, 1]], np.float32)
    refined = np.array([[2.1, 1.9, 0.3, 5.0, 1.0]], np.float32)
    truth = np.array([[1, 1, 1, np.nan, 1]], np.float32)
    assert moved_far(base, refined, truth) == 0.25
    assert math.isnan(moved_far(base, refined, np.full_like(truth, np.nan)))


def test_classes_are_in_units_of_the_coarse_map_and_know_the_sky(scene: Sample) -> None:
    result = Evaluator(random_refiner(), 0.1, "none")(scene, stored(scene.depth))  # a wire of 1 px, cells of 8 px
    sky, wire = np.isposinf(scene.depth), scene.depth == 1.5
    assert wire.any() and (result.classes[wire] == CLASSES.index("thin")).all()
    assert np.array_equal(result.classes == UNKNOWN, sky)
    fine = torch.from_numpy(np.where(sky, 50.0, scene.depth).astype(np.float32))
    as_fine = StoredCoarse(CoarsePrediction(fine, torch.zeros(1, *fine.shape)), has_features=False, claim=stored_claim(metric=True))
    assert not (Evaluator(random_refiner(), 0.1, "none")(scene, as_fine).classes == CLASSES.index("thin")).any()


@pytest.mark.parametrize("align", ["none", "median", "scale-shift"])
def test_oracles_are_measured_in_the_refined_depths_place(scene: Sample, align: Mode) -> None:
    result = with_oracles(Evaluator(random_refiner(), 0.1, align)(scene, stored(scene.depth)))
    assert tuple(result.methods) == (*METHODS, *ORACLES)
    selected = result.selected & np.isfinite(result.truth)
    assert selected.any() and np.array_equal(result.maps["oracle"][selected], result.truth[selected])
    for name in ("oracle", "attainable"):
        assert np.array_equal(result.maps[name][~selected], result.maps["base"][~selected])
    errors = {name: figures["edge_abs_rel"] for name, figures in result.methods.items() if figures is not None}
    assert errors["oracle"] < errors["attainable"] < errors["base"]


def test_the_attainable_depth_does_not_depend_on_the_scale_of_the_coarse_map(scene: Sample) -> None:
    coarse = (stored(scene.depth, scale, metric=False) for scale in (1.0, 4.0))
    right, wrong = (Evaluator(random_refiner(), 0.1, "median")(scene, one) for one in coarse)
    assert np.array_equal(right.selected, wrong.selected)
    one, other = (with_oracles(result).maps["attainable"] for result in (right, wrong))
    np.testing.assert_allclose(one, other, rtol=1e-3)


def test_oracles_of_another_refiner_serve_where_the_same_pixels_were_selected(scene: Sample) -> None:
    whole, half = (Evaluator(random_refiner(), budget, "none")(scene, stored(scene.depth)) for budget in (0.1, 0.05))
    known = with_oracles(whole)
    again = with_oracles(whole, known)
    assert all(again.maps[name] is known.maps[name] and again.methods[name] is known.methods[name] for name in ORACLES)
    assert not np.array_equal(with_oracles(half, known).maps["oracle"], known.maps["oracle"])


def test_all_upsamplings_share_one_alignment_and_scale_does_not_matter(scene: Sample) -> None:
    right, wrong = (Evaluator(random_refiner(), 0.1, "median")(scene, Resizable(scene.depth, scale)) for scale in (1.0, 3.0))
    assert len({right.alignments[name] for name in set(METHODS) - {"equal_time"}}) == 1
    assert right.alignments["nearest"].scale == pytest.approx(3 * wrong.alignments["nearest"].scale, rel=1e-4)
    for name in set(METHODS) - {"equal_time"}:  # whose resolution depends on the clock
        a, b = right.methods[name], wrong.methods[name]
        assert a is not None and b is not None
        # Of pixels with all but equal scores, rounding decides which are refined, here by a random network.
        assert a["edge_abs_rel"] == pytest.approx(b["edge_abs_rel"], rel=2e-2 if name == "refined" else 1e-3)


def test_coverage_is_of_the_pixels_that_retrofit_selects(scene: Sample) -> None:
    result = Evaluator(random_refiner(), 0.1, "none")(scene, stored(scene.depth))
    assert result.high_error.any()
    assert result.coverage[0.1] == pytest.approx(coverage(result.selected, result.high_error))
    shares = [result.coverage[b] for b in (0.02, 0.05, 0.1, 0.2)]
    assert shares == sorted(shares) and 0 < shares[0] < shares[-1] <= 1


def test_depths_outside_the_valid_range_are_unknown(scene: Sample) -> None:
    result = Evaluator(random_refiner(), 0.1, "none", (1.6, 5.0))(scene, stored(scene.depth))
    known = np.isfinite(result.truth)
    assert np.array_equal(known, (scene.depth > 1.6) & (scene.depth < 5.0)) and 0.1 < known.mean() < 0.9


def test_equal_time_takes_the_highest_resolution_that_is_fast_enough(scene: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Resizable(scene.depth)

    def timed(model: Resizable, long_side: int, *_: object) -> float:
        asked.append(long_side)
        return 0.005 * long_side**2 + 10  # ms

    asked: list[int] = []
    monkeypatch.setattr(equal_time, "best_ms", timed)
    assert equal_time.highest_resolution(model, scene.frame, limit_ms=30.0) == 48  # 16 + 32: 22 ms; 80 px take 42 ms
    assert equal_time.highest_resolution(model, scene.frame, limit_ms=1e9) == 112  # 144 is beyond the frame
    assert equal_time.highest_resolution(model, scene.frame, limit_ms=0.1) == 16
    assert model.size == long_side(16, 1)


def test_equal_time_is_the_models_own_answer_at_that_resolution(scene: Sample) -> None:
    model = Resizable(scene.depth)
    result = Evaluator(random_refiner(), 0.1, "none")(scene, model)
    assert result.equal_time_px is not None and result.methods["equal_time"] is not None
    assert np.array_equal(result.maps["equal_time"], equal_time.predict_at(model, result.equal_time_px, scene.frame))
    assert model.asked[-1] == result.equal_time_px and model.size == long_side(16, 1)


def test_a_slow_run_gets_a_second_chance(scene: Sample) -> None:
    model = Resizable(scene.depth)
    assert 0 < equal_time.best_ms(model, 32, scene.frame, limit_ms=1e9) < 1e9 and model.asked == [32]
    assert equal_time.best_ms(model, 32, scene.frame, limit_ms=0.0) > 0 and model.asked == [32, 32, 32]


def test_the_search_needs_few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def timed(model: Resizable, long_side: int, *_: object) -> float:
        asked.append(long_side)
        return 1e-3 * long_side**2 + 40  # ms

    monkeypatch.setattr(equal_time, "best_ms", timed)
    model, frame = Resizable(truth()), Frame(np.zeros((1440, 2560, 3), np.uint8))
    model.size = long_side(256, 1)
    for limit_ms in (150.0, 1000.0, 3000.0):
        asked.clear()
        size = equal_time.highest_resolution(model, frame, limit_ms)
        assert 1e-3 * size**2 + 40 <= limit_ms < 1e-3 * (size + 32) ** 2 + 40 and len(asked) <= 6


def no_truth(scene: Sample) -> Evaluated:
    unknown = Sample("unknown", scene.frame, np.full_like(scene.depth, np.nan))
    return Evaluator(random_refiner(), 0.1, "scale-shift")(unknown, stored(truth()))


def test_json_has_null_and_no_nan_where_there_is_nothing_to_measure(scene: Sample) -> None:
    entries = [image_entry(no_truth(scene)), image_entry(Evaluator(random_refiner(), 0.1, "median")(scene, stored(scene.depth)))]
    assert entries[0]["methods"]["refined"]["see"] is None and entries[0]["coverage"]["0.1"] is None
    document = json.loads(to_json(summarize(entries, FACTS)), parse_constant=pytest.fail)
    summary = document["summary"]
    assert summary["methods"]["refined"]["see"] == entries[1]["methods"]["refined"]["see"]  # the mean over those that have one
    assert summary["methods"]["equal_time"] is None
    assert summary["medians"]["jbu"]["see"] == entries[1]["methods"]["jbu"]["see"]
    assert entries[0]["classes"]["thin"]["share"] is None and entries[0]["moved_far"] is None and entries[0]["flat_ratio"] is None
    assert summary["classes"]["thin"]["selected"] == pytest.approx(entries[1]["classes"]["thin"]["selected"])
    assert summary["taken"] is None and "attainable" not in summary["methods"]
    assert summary["coverage"]["0.1"] == entries[1]["coverage"]["0.1"] and set(summary["coverage"]) == {
        "0.02",
        "0.05",
        "0.1",
        "0.2",
    }


def test_the_classes_of_an_image_add_up(scene: Sample) -> None:
    result = with_oracles(Evaluator(random_refiner(), 0.1, "median")(scene, stored(scene.depth)))
    entry = image_entry(result)
    classes, known = entry["classes"], np.isfinite(result.truth)
    assert tuple(classes) == CLASSES and sum(row["share"] for row in classes.values()) == pytest.approx(1)
    selected = sum(row["share"] * row["selected"] for row in classes.values() if row["share"])
    assert selected == pytest.approx((result.selected & known).sum() / known.sum())
    for name, depth in result.maps.items():
        error = np.abs(np.log(depth[known] / result.truth[known])).mean()
        total = sum(row["share"] * row["log_error"][name] for row in classes.values() if row["share"])
        assert total == pytest.approx(error, rel=1e-4), name
    thin = classes["thin"]
    before, after, best = (thin["log_error"][name] for name in ("bilinear", "refined", "attainable"))
    assert thin["taken"]["log_error"] == pytest.approx((before - after) / (before - best))
    figures = entry["methods"]
    assert entry["flat_ratio"] == figures["refined"]["flat_abs_rel"] / figures["bilinear"]["flat_abs_rel"]
    assert entry["moved_far"] == result.moved_far and set(entry["taken"]) >= {"edge_abs_rel", "see", "boundary_f1"}


def test_overall_figures_are_means_and_medians_over_the_images() -> None:
    def entry(value: float | None, covered: float | None) -> dict[str, object]:
        methods = {name: {"abs_rel": value, "flat_abs_rel": value} for name in METHODS}
        shares = {"known_share": 1.0, "edge_share": covered, "high_error_share": None, "moved_far": value}
        nothing: dict[str, object] = {"share": None, "selected": None, "log_error": {}, "log_error_selected": {}}
        by_budget = dict.fromkeys(("0.02", "0.05", "0.1", "0.2"), covered)
        more = {"name": f"{value}", "flat_ratio": value, "classes": dict.fromkeys(CLASSES, nothing), "confidence": {"ece": value}}
        return {"methods": methods, "coverage": by_budget, **shares, **more}

    summary = summarize([entry(0.1, 0.5), entry(0.2, None), entry(0.9, None), entry(None, 0.7)], FACTS)["summary"]
    assert summary["methods"]["jbu"]["abs_rel"] == summary["moved_far"] == pytest.approx(0.4)
    assert summary["medians"]["jbu"]["abs_rel"] == pytest.approx(0.2)
    assert summary["confidence"]["ece"] == pytest.approx(0.4)
    assert summary["coverage"]["0.05"] == pytest.approx(0.6) and summary["high_error_share"] is None
    assert summary["flat_ratio"] == {"mean": 1.0, "worst": 0.9, "worst_image": "0.9"}
    with pytest.raises(ValueError, match="JSON"):
        to_json({"value": math.nan})


@pytest.fixture
def refiner(tmp_path: Path) -> Path:
    network = random_network()
    path = tmp_path / "refiner" / "refiner.safetensors"
    save_tensors(path, network.state_dict(), {"network": json.dumps({"widths": network.widths, "blocks": network.blocks})})
    return path


def folders(tmp_path: Path, features: bool) -> tuple[Path, Path]:
    pairs, coarse = tmp_path / "pairs", tmp_path / "coarse"
    for folder in (pairs, coarse):
        folder.mkdir()
    for seed, name in enumerate(("first", "second <b>")):
        low = coarse_of(write_scene(pairs, name, seed))
        extra = {"features": np.stack([low, 0 * low])} if features else {}
        np.savez(coarse / f"{name}.npz", depth=low, **extra)  # type: ignore[arg-type]
    return pairs, coarse


def test_the_command_writes_the_contract(tmp_path: Path, refiner: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, coarse = folders(tmp_path, features=False)
    out = tmp_path / "out" / "figures.json"
    options = ["--refiner", str(refiner), "--device", "cpu", "--align", "scale-shift", "--budget", "0.2", "--json", str(out)]
    assert cli.main(["evaluate", str(pairs), "--coarse", str(coarse), *options, "--html", str(tmp_path / "report.html")]) == 0
    document = json.loads(out.read_text(), parse_constant=pytest.fail)
    assert [entry["name"] for entry in document["images"]] == ["first", "second <b>"]
    summary = document["summary"]
    assert (summary["align"], summary["budget"], summary["model"]) == (
        "scale-shift",
        0.2,
        "files in coarse",
    )  # nobody's home folder
    for methods in (summary["methods"], *(entry["methods"] for entry in document["images"])):
        assert set(methods) == set(METHODS)
        assert all(set(figures) >= KEYS for figures in methods.values() if figures is not None)
    assert summary["methods"]["equal_time"] is None and "stored" in summary["notes"]["equal_time"]
    assert "edges alone for 2 of 2" in summary["notes"]["selection"]
    assert "edges alone for 2 of 2" in capsys.readouterr().out
    assert "second &lt;b&gt;" in (tmp_path / "report.html").read_text()


def test_the_command_tells_what_is_attainable_where_it_is_asked(
    tmp_path: Path, refiner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, coarse = folders(tmp_path, features=False)
    out = tmp_path / "figures.json"
    options = ["--coarse", str(coarse), "--refiner", str(refiner), "--oracles", "--json", str(out)]
    assert cli.main(["evaluate", str(pairs), *options, "--html", str(tmp_path / "report.html")]) == 0
    document = json.loads(out.read_text(), parse_constant=pytest.fail)
    for methods in (document["summary"]["methods"], *(entry["methods"] for entry in document["images"])):
        assert list(methods) == [*METHODS, *ORACLES] and methods["attainable"]["ms"] is None
    thin = document["summary"]["classes"]["thin"]
    assert thin["log_error"]["attainable"] < thin["log_error"]["base"] and thin["taken"]["log_error"] is not None
    text = capsys.readouterr().out
    assert f"{thin['log_error']['attainable']:.4g}" in text and "beside_thin" in text
    assert "<td>beside thin</td>" in (tmp_path / "report.html").read_text()


def test_the_command_tells_what_relative_depth_was_measured_as(
    tmp_path: Path, refiner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, coarse = folders(tmp_path, features=True)
    assert cli.main(["evaluate", str(pairs), "--coarse", str(coarse), "--refiner", str(refiner), "--align", "none"]) == 0
    text = capsys.readouterr().out
    assert "2 of 2 coarse maps do not claim metres by themselves" in text and "edges alone" not in text


def test_a_missing_coarse_file_is_told_in_one_line(tmp_path: Path, refiner: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, coarse = folders(tmp_path, features=True)
    (coarse / "second <b>.npz").unlink()
    assert cli.main(["evaluate", str(pairs), "--coarse", str(coarse), "--refiner", str(refiner)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_image_takes_coarse_files_too(tmp_path: Path, refiner: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, coarse = folders(tmp_path, features=False)
    out = tmp_path / "out"
    assert cli.main(["image", str(pairs / "first.png"), "--coarse", str(coarse), "--refiner", str(refiner), "--out", str(out)]) == 0
    assert np.load(out / "first_relative.npy").shape == (HEIGHT, WIDTH)
    assert "no features" in capsys.readouterr().out
    assert json.loads((out / "images.json").read_text())[0]["model"] == "files"


def test_selection_by_disagreement_is_measured_by_what_it_covers(scene: Sample) -> None:
    """A second model that knows the truth disagrees where the first one is wrong."""
    wrong = np.where(scene.depth < np.median(scene.depth), scene.depth, 1.5 * scene.depth).astype(np.float32)
    wrong[:, : WIDTH // 2] = scene.depth[:, : WIDTH // 2]
    plain, told = (
        Evaluator(random_refiner(), 0.1, "none", second=second)(scene, stored(wrong)) for second in (None, stored(scene.depth))
    )
    assert told.selected.sum() == plain.selected.sum() and not np.array_equal(told.selected, plain.selected)
    assert told.coverage.keys() == plain.coverage.keys() and told.coverage != plain.coverage


def test_the_confidence_is_measured_with_the_depth(scene: Sample) -> None:
    result = Evaluator(random_refiner(), 0.1, "median")(scene, stored(scene.depth))
    assert set(result.confidence) == {"ece", "aurc", "aurc_best", "ause", "wrong"}
    assert 0 < result.confidence["ece"] < 1 and result.confidence["ause"] >= 0
    assert all(np.isnan(value) for value in no_truth(scene).confidence.values())
