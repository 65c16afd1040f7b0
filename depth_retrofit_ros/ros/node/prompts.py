"""The sparse depth that a model is given with each frame."""

from __future__ import annotations

from dataclasses import dataclass

from depth_retrofit_ros.coarse.claim import ScaleClaim, is_prompt, prompt_problem
from depth_retrofit_ros.errors import SparseDepthError
from depth_retrofit_ros.frame import Frame, SparseDepth
from depth_retrofit_ros.ros.node.sparse_input import SparseInput
from depth_retrofit_ros.scale.fit import HOLD_S


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a frame's model is given. problem: why the frame has none of its own, None where it has; age_s: how much older than the
    frame the one is that was given, 0 for one of its own, None for none."""

    sparse: SparseDepth | None = None
    problem: str | None = None
    age_s: float | None = None


NO_PROMPT = Prompt()


class Prompts:
    """Finds the prompt of each frame, one after the other.

    A model whose metres are the sensor's word (claim) answers on another scale without one. So its frames wait for sparse depth
    that is about to come, and for ``HOLD_S`` of their stamps a missing prompt is replaced by the last one of the same view.
    """

    def __init__(self, sparse: SparseInput, claim: ScaleClaim) -> None:
        self._sparse = sparse
        self._holds = claim.word == "sensor"
        self._last: SparseDepth | None = None
        self._last_ns = 0
        self._view: object = None

    def of(self, frame: Frame) -> Prompt:
        """The frame's prompt; it may wait ``sparse_input.LATE_S``."""
        if self._holds and frame.stamp_ns is not None:
            self._sparse.wait(frame.stamp_ns)
        try:
            sparse = self._sparse.of(frame)
            own = Prompt(sparse, prompt_problem(sparse), 0.0 if is_prompt(sparse) else None)
        except SparseDepthError as error:
            own = Prompt(problem=str(error))
        return self._held(frame, own) if self._holds and frame.stamp_ns is not None else own

    def _held(self, frame: Frame, own: Prompt) -> Prompt:
        assert frame.stamp_ns is not None
        view = frame.camera, frame.optics, frame.frame_id, frame.image.shape
        if own.problem is None:
            self._last, self._last_ns, self._view = own.sparse, frame.stamp_ns, view
            return own
        age_s = 1e-9 * (frame.stamp_ns - self._last_ns)
        if self._last is None or view != self._view or not 0 <= age_s <= HOLD_S:
            return own
        return Prompt(self._last, own.problem, age_s)
