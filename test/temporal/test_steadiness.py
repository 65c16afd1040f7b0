"""Memory over time: what it steadies, and everything that makes it let go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.window import ViewWindow
from depth_retrofit_ros.confidence.estimate import confidence_of
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.frame import ENTROPY_STEP, GATE_STEP, Frame
from depth_retrofit_ros.loading import load
from depth_retrofit_ros.presets import USUAL
from depth_retrofit_ros.refinement.base import RefinerInput
from depth_retrofit_ros.refinement.pixels.refiner import Refined, SparseRefiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.selection.threshold import AboveThreshold
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.temporal.coarse_filter import FARTHEST
from depth_retrofit_ros.temporal.settled import LIFE_S
from depth_retrofit_ros.temporal.steadiness import LONGEST_GAP_S, Steadiness
from test.refinement.nets import random_refiner
from test.temporal.videos import CAMERA, LOW, SIZE, STEP_NS, Script, answers, jittering, noisy, picture, planes, shot


def standing(count: int) -> list[Frame]:
    """A camera that stands."""
    return [shot(noisy(picture(), i), i) for i in range(count)]


class Seeing:
    """The optics of a lens that sees this much of the rectified frame."""

    def __init__(self, seen: np.ndarray) -> None:
        self.unseen = None if seen.all() else ~seen


def levels(made: list[Any]) -> np.ndarray:
    """ln of the scale of each answer."""
    return np.log([float(answer.coarse.median()) for answer in made])


def test_the_scale_is_held() -> None:
    off, on = (levels(answers(standing(12), jittering(), memory)) for memory in (None, Steadiness()))
    assert np.median(np.abs(np.diff(on))) < 0.3 * np.median(np.abs(np.diff(off)))
    assert abs(on[-1] - off.mean()) < 0.03


def test_the_factor_on_the_scale_is_told() -> None:
    coarse = jittering()
    off, on = (answers(standing(5), coarse, memory) for memory in (None, Steadiness()))
    assert [made.temporal_scale for made in off] == [1.0] * 5
    assert on[0].temporal_scale == 1.0
    for plain, steady in zip(off[1:], on[1:], strict=True):
        assert steady.temporal_scale == pytest.approx(float((steady.coarse / plain.coarse).median()), rel=1e-3)
        assert steady.temporal_scale != 1.0


def test_a_lasting_change_of_scale_is_followed() -> None:
    coarse = Script(lambda stamp_ns: planes(1.2 if stamp_ns and stamp_ns > 3 * STEP_NS else 1.0))
    made = answers(standing(45), coarse, Steadiness(), 0.0)
    assert made[3].temporal_scale < 0.9
    assert made[-1].temporal_scale == pytest.approx(1.0, abs=0.02)


def test_a_model_that_changes_its_mind_is_followed_closely() -> None:
    """Its scale falls by 3 % a frame for a second and a half, and depth is never 12 % behind."""
    coarse = Script(lambda stamp_ns: planes(0.97 ** ((stamp_ns or 0) // STEP_NS)))
    made = answers(standing(15), coarse, Steadiness(), 0.0)
    assert max(abs(np.log(answer.temporal_scale)) for answer in made) < FARTHEST + 0.09


def test_cells_are_averaged_over_time() -> None:
    off, on = (answers(standing(10), jittering(0.0, 0.02), memory, 0.0) for memory in (None, Steadiness()))
    flicker = [np.median(np.abs((made[-1].base / made[-2].base).log().numpy())) for made in (off, on)]
    assert flicker[1] < 0.5 * flicker[0]
    error = [(made[-1].coarse / planes().depth).log().abs().mean() for made in (off, on)]
    assert error[1] < error[0]


@pytest.mark.parametrize("word", ["file", "sensor"])
def test_a_scale_that_is_measured_is_left_alone(word: Any) -> None:
    claim = ScaleClaim("metric", word)
    frames = standing(4)
    if word == "sensor":
        from depth_retrofit_ros.frame import SparseDepth

        frames = [replace(frame, sparse=SparseDepth(np.arange(40), np.ones(40))) for frame in frames]
    assert [made.temporal_scale for made in answers(frames, jittering(claim=claim), Steadiness())] == [1.0] * 4


def test_a_standing_camera_covers_more_than_its_budget() -> None:
    memory = Steadiness()
    retrofit = Retrofit(jittering(0.02, 0.005), random_refiner(), 0.1, temporal=memory)
    shares = []
    for frame in standing(5):
        made = retrofit(frame)
        assert made.refined_pixels == round(0.1 * SIZE[0] * SIZE[1])
        assert memory.settled is not None
        shares.append(memory.settled.share)
    assert shares[0] == pytest.approx(0.1, abs=0.001)
    assert shares == sorted(shares)
    assert shares[-1] > 0.19


def test_a_subclass_selects_by_the_same_claim() -> None:
    """Whoever ranks the cells otherwise: what settled has less claim to the budget there, too."""
    claims: list[torch.Tensor | None] = []

    class Observed(Retrofit):
        def select(
            self,
            coarse: CoarsePrediction,
            image: torch.Tensor,
            other: CoarsePrediction | None = None,
            claim: torch.Tensor | None = None,
        ) -> tuple[torch.Tensor, PixelSet]:
            claims.append(claim)
            return super().select(coarse, image, other, claim)

    memory = Steadiness()
    retrofit = Observed(Script(lambda _: planes()), random_refiner(), 0.1, temporal=memory)
    made = [retrofit(shot(picture(), i)) for i in range(3)]
    assert claims[0] is None
    claim = claims[2]
    assert claim is not None and claim.shape == LOW
    refined = made[1].selection.mask().view(LOW[0], 3, LOW[1], 3).sum((1, 3)) > 4
    assert claim[refined].max() < 0.85 and claim[~refined].max() == 1.0
    retrofit.temporal = None
    retrofit(shot(picture(), 3))
    assert claims[3] is None


def test_settled_pixels_keep_what_they_were_refined_to() -> None:
    coarse, frames = Script(lambda _: planes()), [shot(picture(), i) for i in range(3)]
    made = answers(frames, coarse, Steadiness())
    kept = made[0].selection.mask() & ~made[1].selection.mask()
    assert kept.sum() > 0.02 * kept.numel()
    torch.testing.assert_close(made[1].depth[kept], made[0].depth[kept], rtol=1e-5, atol=0)
    assert not torch.allclose(made[1].depth[kept], made[1].base[kept], rtol=1e-3)


def test_what_settled_pixels_say_of_their_choice_stays_with_the_answer() -> None:
    coarse, frames = Script(lambda _: planes()), [shot(picture(), i) for i in range(3)]
    made = answers(frames, coarse, Steadiness())
    assert answers(frames[:1], coarse, None)[0].settled is None
    first, second = made[:2]
    assert first.choice_entropy is not None and second.settled is not None
    kept = first.selection.mask() & ~second.selection.mask()
    assert kept.sum() > 0.02 * kept.numel() and (second.settled.settled[kept] > 0).all()
    entropy, gate = (torch.zeros(SIZE) for _ in range(2))
    entropy.view(-1)[first.selection.indices], gate.view(-1)[first.selection.indices] = first.choice_entropy, first.gate
    torch.testing.assert_close(second.settled.entropy[kept] * ENTROPY_STEP, entropy[kept], rtol=0, atol=0.51 * ENTROPY_STEP)
    torch.testing.assert_close(second.settled.gate[kept] * GATE_STEP, gate[kept], rtol=0, atol=0.51 * GATE_STEP)
    assert not torch.equal(confidence_of(second)[kept], confidence_of(replace(second, settled=None))[kept])


def test_an_edge_that_the_model_moved_is_refined_again_as_a_whole_and_holds_nothing() -> None:
    """Beside an edge that stays nothing is let go."""

    def tell(stamp_ns: int | None) -> CoarsePrediction:
        told = planes()
        depth = torch.full(LOW, 2.0)
        depth[:24, 20 if stamp_ns == 3 * STEP_NS else 22 :] = 4.0
        depth[24:, 40:] = 4.0
        return replace(told, depth=depth)

    memory = Steadiness()
    retrofit = Retrofit(Script(tell), random_refiner(), 0.1, temporal=memory)
    frames = [shot(picture(), i) for i in range(3)]
    for frame in frames[:2]:
        retrofit(frame)
    assert memory.settled is not None
    before = memory.settled.count > 0
    made = retrofit(frames[2])
    again = made.selection.mask().numpy()
    moved, stays = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    moved[6:60, 60:66], stays[84:138, 117:123] = True, True
    assert before[moved].mean() > 0.9
    assert before[stays].mean() > 0.9
    assert again[moved].mean() > 0.9
    assert (memory.settled.count[moved & again] == 1).all()
    assert not memory.settled.count[moved & ~again].any()
    assert (memory.settled.count[stays & before] > 0).all()


def test_a_threshold_saves_what_settled_pixels_do_not_need() -> None:
    """And comes back to them when their lives are over."""
    coarse = Script(lambda _: planes())
    parts = replace(USUAL, selector=AboveThreshold(0.9 * float(AboveThreshold(0.0).score(planes(), torch.empty(0)).max())))
    frames = [shot(noisy(picture(), i), i) for i in range(4)]
    late = replace(frames[3], stamp_ns=(frames[2].stamp_ns or 0) + round(1e9 * LIFE_S))
    counts = []
    for memory in (None, Steadiness()):
        retrofit = Retrofit(coarse, random_refiner(), 1.0, parts=parts, temporal=memory)
        counts.append([retrofit(frame).refined_pixels for frame in [*frames[:3], late]])
    off, on = counts
    assert off == [off[0]] * 4
    assert on[0] == on[3] == off[0] > 0
    assert max(on[1:3]) < 0.9 * off[0]


def test_what_the_refiner_did_not_look_at_is_not_settled_and_loses_nothing() -> None:
    """As one of tiles does with selected pixels outside of them."""

    class Halves(SparseRefiner):
        left = True

        def fuse(self, refined: Refined) -> Any:
            made = super().fuse(refined)
            looked = (torch.arange(made.gate.numel()) % SIZE[1] < SIZE[1] // 2) == self.left
            return made._replace(gate=torch.where(looked, made.gate, torch.ones_like(made.gate)))

    plain = random_refiner()
    refiner, memory = Halves(plain.network, plain.backend), Steadiness()
    retrofit = Retrofit(Script(lambda _: planes()), refiner, 1.0, temporal=memory)
    retrofit(shot(picture(), 0))
    assert memory.settled is not None
    first = memory.settled.count.copy()
    refiner.left = False
    retrofit(shot(picture(), 1))
    half = SIZE[1] // 2
    assert first[:, :half].mean() > 0.9
    assert not first[:, half:].any()
    assert (memory.settled.count[:, :half] == first[:, :half]).mean() > 0.95
    assert memory.settled.count[:, half:].mean() > 0.9


def test_budget_0_and_a_frame_without_a_camera() -> None:
    made = answers([replace(frame, camera=None) for frame in standing(3)], jittering(), Steadiness(), 0.0)
    assert made[2].refined_pixels == 0
    assert made[2].temporal_scale != 1.0


def test_what_the_lens_does_not_see_neither_settles_nor_tells_the_scale() -> None:
    """Two thirds of the frame are black, with a depth there that never changes."""
    seen = np.zeros(SIZE, bool)
    seen[:, 128:] = True
    cells = torch.zeros(LOW, dtype=torch.bool)
    cells[:, 43:] = True

    def tell(stamp_ns: int | None) -> CoarsePrediction:
        told = jittering().tell(stamp_ns)
        return replace(told, depth=torch.where(cells, told.depth, 3.0))

    optics = cast(Any, Seeing(seen))
    frames = [replace(frame, image=frame.image * seen[..., None], optics=optics) for frame in standing(8)]
    memory, coarse = Steadiness(), Script(tell)
    off = answers(frames, coarse, None, 1.0)
    on = answers(frames, coarse, memory, 1.0)
    flicker = [np.median(np.abs(np.diff([float(answer.coarse[cells].median().log()) for answer in made]))) for made in (off, on)]
    assert flicker[1] < 0.5 * flicker[0]
    assert memory.settled is not None
    assert not memory.settled.count[~seen].any()
    assert memory.settled.count[seen].any()
    assert on[-1].depth[torch.from_numpy(~seen)].isnan().all()


def test_cells_that_come_to_be_known_bring_no_scale() -> None:
    told = replace(planes(), depth=torch.full(LOW, 1.3))
    unknown = torch.zeros(LOW, dtype=torch.bool)
    unknown[:, :40] = True

    def tell(stamp_ns: int | None) -> CoarsePrediction:
        return replace(told, unknown=unknown if stamp_ns and stamp_ns < 3 * STEP_NS else None)

    made = answers(standing(5), Script(tell), Steadiness(), 0.0)
    assert [answer.temporal_scale for answer in made] == pytest.approx([1.0] * 5, abs=1e-3)
    torch.testing.assert_close(made[-1].coarse, told.depth, rtol=1e-3, atol=0)


def test_where_a_model_puts_the_sky_says_nothing_of_the_scale() -> None:
    sky = torch.zeros(LOW, dtype=torch.bool)
    sky[:36] = True

    def tell(stamp_ns: int | None) -> CoarsePrediction:
        return replace(jittering().tell(stamp_ns), sky=sky)

    off, on = (answers(standing(10), Script(tell), memory, 0.0) for memory in (None, Steadiness()))
    flicker = [np.median(np.abs(np.diff([float(answer.coarse[40:].median().log()) for answer in made]))) for made in (off, on)]
    assert flicker[1] < 0.5 * flicker[0]


def test_a_wall_without_texture_is_answered_frame_by_frame() -> None:
    """Whether the camera stands or drives at it cannot be seen: depth that is held would be too large."""
    frames = [shot(np.full((*SIZE, 3), 120, np.uint8), i) for i in range(6)]
    coarse = Script(lambda stamp_ns: planes(0.97 ** ((stamp_ns or 0) // STEP_NS)))
    off, on = (answers(frames, coarse, memory) for memory in (None, Steadiness()))
    assert all(torch.equal(a.depth, b.depth) for a, b in zip(off, on, strict=True))


CUTS: dict[str, Callable[[Frame], Frame]] = {
    "a cut": lambda frame: replace(frame, image=picture(7)),
    "a jump of the exposure": lambda frame: replace(frame, image=(frame.image * 0.45).astype(np.uint8)),
    "a covered lens": lambda frame: replace(frame, image=np.zeros_like(frame.image)),
    "a stamp that jumps back": lambda frame: replace(frame, stamp_ns=1),
    "the same stamp again": lambda frame: replace(frame, stamp_ns=4 * STEP_NS),
    "a gap": lambda frame: replace(frame, stamp_ns=(frame.stamp_ns or 0) + round(1e9 * LONGEST_GAP_S)),
    "no stamp": lambda frame: replace(frame, stamp_ns=None),
    "another camera_info": lambda frame: replace(frame, camera=Camera.from_hfov(SIZE[1], SIZE[0], 80.0)),
    "camera_info lost": lambda frame: replace(frame, camera=None),
    "another rectification": lambda frame: replace(frame, optics=cast(Any, Seeing(np.ones(SIZE, bool)))),
    "another frame_id": lambda frame: replace(frame, frame_id="other"),
    "another size": lambda frame: replace(frame, image=frame.image[:, :-16].copy(), camera=None),
}


@pytest.mark.parametrize("what", CUTS)
def test_everything_is_let_go_at(what: str) -> None:
    """The answer is that of a frame for itself, to the byte."""
    frames, coarse = standing(5), jittering(0.05, 0.01)
    frames[4] = CUTS[what](frames[4])
    (alone,), on = answers(frames[4:], coarse, None), answers(frames, coarse, Steadiness())
    assert on[3].temporal_scale != 1.0
    assert on[4].temporal_scale == 1.0
    assert torch.equal(on[4].depth, alone.depth)
    assert torch.equal(on[4].selection.indices, alone.selection.indices)


def test_a_frame_without_a_stamp_leaves_no_trace() -> None:
    frames, coarse = standing(4), jittering(0.05, 0.01)
    between = [*frames[:3], replace(frames[3], stamp_ns=None), frames[3]]
    plain, mixed = (answers(shown, coarse, Steadiness()) for shown in (frames, between))
    assert torch.equal(mixed[4].depth, plain[3].depth)


def test_dropped_frames_are_no_cut() -> None:
    frames = standing(12)
    made = answers([*frames[:4], *frames[9:]], jittering(), Steadiness())
    assert made[4].temporal_scale != 1.0


def test_what_moved_is_seen_anew() -> None:
    """A square that moves, and what it uncovers: no pixel there remembers anything, and the rest does."""
    memory, frames = Steadiness(), []
    retrofit = Retrofit(Script(lambda _: planes()), random_refiner(), 0.3, temporal=memory)
    for i in range(4):
        image = picture()
        image[40:100, 30 + (40 if i == 3 else 0) :][:, :40] = (250, 20, 20)
        frames.append(shot(image, i))
    for frame in frames[:3]:
        retrofit(frame)
    assert memory.settled is not None
    before = memory.settled.count.copy()
    made = retrofit(frames[3])
    moved = np.zeros(SIZE, bool)
    moved[42:98, 32:108] = True
    again = made.selection.mask().numpy()
    assert not memory.settled.count[moved & ~again].any()
    assert (memory.settled.count[moved & again] == 1).all()
    far = np.zeros(SIZE, bool)
    far[:, 130:] = True
    assert (before[far] > 0).sum() > 100
    assert (memory.settled.count[far & (before > 0)] > 0).all()


def test_a_frame_that_failed_is_tried_again_as_if_it_had_not() -> None:
    class Failing(SparseRefiner):
        fails = False

        def refine(self, given: RefinerInput) -> Refined:
            if self.fails:
                raise MemoryError
            return super().refine(given)

    plain = random_refiner()
    refiner = Failing(plain.network, plain.backend)
    frames, coarse = standing(4), jittering(0.05, 0.01)
    retrofit = Retrofit(coarse, refiner, 0.1, temporal=Steadiness())
    for frame in frames[:3]:
        retrofit(frame)
    launched = retrofit.launch(frames[3])
    refiner.fails = True
    with pytest.raises(MemoryError):
        retrofit.refine(launched)
    refiner.fails = False
    assert torch.equal(retrofit.collect(launched).depth, answers(frames, coarse, Steadiness())[3].depth)


def test_two_runs_are_alike_to_the_byte() -> None:
    a, b = (answers(standing(5), jittering(0.05, 0.01), Steadiness()) for _ in range(2))
    assert all(torch.equal(x.depth, y.depth) for x, y in zip(a, b, strict=True))


def test_off_again_is_off() -> None:
    coarse, frames = jittering(), standing(4)
    retrofit = Retrofit(coarse, random_refiner(), 0.1, temporal=Steadiness())
    for frame in frames[:3]:
        retrofit(frame)
    retrofit.temporal = None
    assert torch.equal(retrofit(frames[3]).depth, answers(frames[3:], coarse, None)[0].depth)


def test_another_camera_has_a_memory_of_its_own() -> None:
    coarse, frames = jittering(), standing(4)
    one = Retrofit(coarse, random_refiner(), 0.1, temporal=Steadiness())
    other = one.for_another_camera(0.1, trust_scale=False)
    alone = [answer.depth for answer in answers(frames, coarse, Steadiness())]
    for frame, depth in zip(frames, alone, strict=True):
        assert torch.equal(one(frame).depth, depth)
        other(replace(frame, image=picture(7), stamp_ns=(frame.stamp_ns or 0) + STEP_NS // 2))
    assert other.temporal is not None
    assert Retrofit(coarse, random_refiner()).for_another_camera(0.1, trust_scale=False).temporal is None

    plain = [answer.depth for answer in answers(frames, coarse, None)]
    assert not torch.equal(alone[-1], plain[-1])


def test_memory_is_bounded_and_used_again() -> None:
    memory = Steadiness()
    answers(standing(2), jittering(), memory)
    settled = memory.settled
    assert settled is not None
    held = settled.bytes
    answers(standing(6), jittering(), memory)  # begins anew: its stamps jump back
    assert memory.settled is settled
    assert settled.bytes == held == 16 * SIZE[0] * SIZE[1] + 12 * LOW[0] * LOW[1]
    memory.reset()
    assert memory.settled is None


def test_cuda_graphs_and_views_are_refused() -> None:
    coarse = jittering()
    coarse.device = torch.device("cuda")
    with pytest.raises(ModelError, match="temporal runs on the CPU so far, and not on cuda"):
        Retrofit(coarse, random_refiner(), temporal=Steadiness())
    with pytest.raises(ModelError, match="temporal runs without cuda_graphs"):
        load("compact", device="cpu", temporal=True, views=2)
    windowed = Retrofit(ViewWindow(jittering(), 2), random_refiner())  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="on one view at a time"):
        windowed.temporal = Steadiness()
    assert load("compact", device="cpu", temporal=True).temporal is not None
    assert load("compact", device="cpu").temporal is None
    assert CAMERA.width == SIZE[1]
