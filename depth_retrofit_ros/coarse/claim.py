"""What a coarse model's depth is, and on whose word it is in metres. The registry states it; everything downstream says it on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeGuard

if TYPE_CHECKING:
    from depth_retrofit_ros.frame import ScaleSource, SparseDepth

Kind = Literal["metric", "up-to-scale", "affine", "disparity"]
Word = Literal["camera", "one camera", "domain", "sensor", "file", "never"]

RENDERED_SCENES = "rendered rooms and streets"
FEWEST_PROMPTS = 30  # known depths in a frame: fewer are no picture of it


@dataclass(frozen=True, slots=True)
class ScaleClaim:
    """What the depth is, and where it can be taken for metres.

    kind: ``metric`` depth [m]; depth ``up-to-scale``, one factor away from metres; ``affine`` depth, whose scale and shift are both
    unknown, so that no factor makes metres of it; ``disparity``, turned into depth, of which scale and shift are unknown likewise.
    word: on whose word metric depth is metric: of any ``camera`` whose focal length is given; of ``one camera``, that of the
    training; on a ``domain``, one kind of scenes; of the ``sensor`` whose sparse depth the model takes, in the frames that have
    some; of the ``file`` that it came from; ``never`` for what is not metric.
    where: that camera or that kind of scenes, in words. Raises ValueError for a claim that contradicts itself.
    """

    kind: Kind
    word: Word
    where: str = ""

    def __post_init__(self) -> None:
        if (self.kind == "metric") == (self.word == "never") or self.needs_trust != bool(self.where):
            raise ValueError(f"a model cannot be {self.kind} on the word '{self.word}' with '{self.where}'")

    @property
    def inverse(self) -> bool:
        """Whether scale and shift belong to inverse depth."""
        return self.kind == "disparity"

    @property
    def needs_trust(self) -> bool:
        """Whether only the user knows that the model is within its word."""
        return self.word in ("one camera", "domain")

    def source(self, trust_scale: bool, sparse: SparseDepth | None = None) -> ScaleSource | None:
        """On whose word depth with a known camera is in metres; None where it is relative.

        trust_scale: the user vouches for it; sparse: what a sensor knows of the frame.
        """
        if self.word == "camera":
            return "model"
        if self.word == "file":
            return "file"
        if self.word == "sensor":
            return "sensor" if is_prompt(sparse) else None
        return "user" if self.needs_trust and trust_scale else None

    def __str__(self) -> str:
        if self.kind != "metric":
            return "relative, up to an unknown scale" + (" and shift" if self.kind in ("affine", "disparity") else "")
        told = {
            "camera": "for any camera with a known focal length",
            "sensor": "where sparse depth prompts it",
            "file": "on the word of its file",
        }
        return f"metric {told.get(self.word) or f'for {self.where} only'}"


def is_prompt(sparse: SparseDepth | None) -> TypeGuard[SparseDepth]:
    """Whether a sensor knows enough of a frame for a model to be prompted by it; else the model's answer is relative."""
    return sparse is not None and len(sparse.depth) >= FEWEST_PROMPTS


def prompt_problem(sparse: SparseDepth) -> str | None:
    """Why sparse depth is no prompt; None where it is one."""
    if is_prompt(sparse):
        return None
    return f"only {len(sparse.depth)} sparse depths are in the image, and a prompt takes {FEWEST_PROMPTS}: check their calibration"


def stored_claim(metric: bool) -> ScaleClaim:
    """Of a map from a file, which says whether it is metric; where it is not, no more than disparity is taken for granted."""
    return ScaleClaim("metric", "file") if metric else ScaleClaim("disparity", "never")
