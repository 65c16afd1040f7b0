"""What moved between two frames, on the coarse grid: a small optical flow, and where it can be trusted.

DIS (Kroeger et al. 2016) in its fastest preset but for its finest scale, both ways, on the frames' averages over the cells. Where
the camera stands nothing is warped at all, so that no map is blurred by being resampled frame after frame. Where the camera's poses
are known the flow begins at what they say, so that a fast turn is no longer one than a slow one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.temporal.known_motion import KnownMotion, fit_known_motion, is_told, reprojected, turning_flow
from depth_retrofit_ros.temporal.rigid_motion import AGREES, AGREES_SHARE, RigidMotion, fit_rigid_motion

LEAST_SIDE = 32  # cells: below, flow has nothing to go by, and only what stands still is followed
SAME, OTHER = 6 / 255, 14 / 255  # difference of colour up to which two averages are of one surface, and from which they are not
SLACK = 0.25  # of the range of grey around is allowed besides, where flow and sampling are that share of a cell off
FINEST_SCALE = 1  # of the flow: half the grid; the preset's own, a quarter, is off by half a cell
STANDING = 0.12  # flow [cells] up to which a cell stands
STANDING_SHARE, SAME_SHARE = 0.3, 0.6  # the camera stands where so many cells do, and so many look the same: others may be smeared
RETURN, RETURN_SHARE = 0.6, 0.05  # flow there and back ends where it began, up to so many cells and so much of its length
TEXTURE = 4 / 255  # range of grey around a cell from which its flow is evidence
LEAST_TEXTURED = 0.05  # of the cells that are seen: with less, nothing is known of the motion, and nothing is trusted
ITS_OWN = 0.5  # flow [cells] beyond which a cell moves though the camera stands
SEEDS = 1.0  # flow [cells] by a known turn from which the images' flow begins there


@dataclass(frozen=True, slots=True)
class Motion:
    """flow: ``float32 [h, w, 2]``, x and y in cells, to where each cell's surface was in the frame before, None where the camera
    stands; trust: ``float32 [h, w]``, 0…1, that it was there; change: ``float32 [h, w]``, ln(depth now / then) by the camera's own
    motion, of one that creeps too, None where it is unknown; still: ``bool [h, w]``, what looks the same in the same place.
    contradicted: whether a known motion is none of the images'; unit: how many of the depth's units a metre is by those that were,
    None where nothing told."""

    flow: np.ndarray | None
    trust: np.ndarray
    change: np.ndarray | None
    still: np.ndarray
    contradicted: bool = False
    unit: float | None = None

    def carried(self, before: np.ndarray) -> np.ndarray:
        """A map ``float32 [h, w]`` of the frame before, as it is seen in this one."""
        return before if self.flow is None else warped(before, self.flow)


class FlowEstimator:
    """Optical flow between thumbnails."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._dis.setFinestScale(FINEST_SCALE)

    def motion(
        self,
        before: np.ndarray,
        now: np.ndarray,
        depth: np.ndarray,
        usable: np.ndarray,
        camera: Camera | None,
        seen: np.ndarray | None = None,
        bent: bool = False,
        known: KnownMotion | None = None,
        unit: float | None = None,
    ) -> Motion:
        """before, now: ``float32 [h, w, 3]`` 0…1, the frames' averages over the cells; depth: ``float32 [h, w]`` of this frame, up
        to scale; usable: ``bool [h, w]``, where it is known; seen: ``bool [h, w]``, what the lens shows, None where that is all;
        bent: whether the image is a lens's own, of which ``camera`` says too little to tell a motion; known: the camera's by its
        poses, None where nobody knows them; unit: see ``fit_known_motion``."""
        seen = np.ones(depth.shape, bool) if seen is None else seen
        known = None if bent else known
        alike = np.where(seen, _alike(before, now), np.float32(0))
        still = alike > 0.5
        grays = [cv2.cvtColor(small, cv2.COLOR_RGB2GRAY) for small in (before, now)]
        texture = _texture(grays[1])
        textured = seen & (texture >= TEXTURE)
        nothing = Motion(None, np.zeros_like(alike), None, np.zeros_like(still), unit=unit)
        if np.count_nonzero(textured) <= LEAST_TEXTURED * np.count_nonzero(seen):
            told = None if known is None else reprojected(known, unit, depth, camera)
            if told is None:
                return nothing
            if np.hypot(told.flow[..., 0], told.flow[..., 1])[usable].max(initial=0) <= STANDING:
                return Motion(None, alike, told.change, still, unit=unit)
            return self._carried(told, before, now, texture, seen, still, np.zeros_like(still), unit)
        if min(now.shape[:2]) < LEAST_SIDE:
            stands = np.mean(still[textured]) >= SAME_SHARE
            return replace(nothing, trust=alike if stands else nothing.trust, still=still & stands)
        old, new = ((gray * 255).astype(np.uint8) for gray in grays)
        seeds = None if known is None else [turning_flow(turn, depth.shape, camera) for turn in (known.rotation, known.rotation.T)]
        if seeds is not None and np.abs(seeds[0]).max() < SEEDS:
            seeds = None
        back = self._flow(new, old, None if seeds is None else seeds[0])
        length = np.hypot(back[..., 0], back[..., 1])
        if np.mean(still[textured]) >= SAME_SHARE and np.quantile(length[textured], STANDING_SHARE) <= STANDING:
            moving = textured & (length > ITS_OWN)
            stays = cv2.dilate(moving.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
            creeps, contradicted, unit = _fitted(known, unit, back, depth, usable & textured & stays, camera, bent)
            change = None if creeps is None else creeps.change
            return Motion(None, np.where(stays, alike, np.float32(0)), change, still & stays, contradicted, unit)
        forth = self._flow(old, new, None if seeds is None else seeds[1])
        consistent = _returns(back, forth)
        rigid, contradicted, unit = _fitted(known, unit, back, depth, usable & consistent & textured, camera, bent)
        if contradicted and seeds is not None:  # they led it astray, from the question on whether the camera stands
            return replace(self.motion(before, now, depth, usable, camera, seen, bent), contradicted=True)
        if rigid is None:  # what moved is unknown: only what stands still is followed, by its own flow
            stands = still & textured & consistent & (length <= STANDING)
            return Motion(None, np.where(stands, alike, np.float32(0)), None, stands, contradicted, unit)
        off = rigid.flow - back
        agrees = np.hypot(off[..., 0], off[..., 1]) <= AGREES + AGREES_SHARE * length
        astray = textured & ~(agrees & consistent)
        made = self._carried(rigid, before, now, texture, seen, still, astray, unit)
        return replace(made, contradicted=contradicted)

    def _carried(
        self,
        rigid: RigidMotion,
        before: np.ndarray,
        now: np.ndarray,
        texture: np.ndarray,
        seen: np.ndarray,
        still: np.ndarray,
        astray: np.ndarray,
        unit: float | None,
    ) -> Motion:
        """Of a camera that moves. astray: ``bool [h, w]``, whose flow is another."""
        trust = _alike(warped(before, rigid.flow), now, np.float32(SLACK) * cv2.blur(texture, (3, 3)))
        trust[astray] = 0
        trust[~_inside(rigid.flow) | ~seen] = 0
        # The cells beside one that moves by itself hold some of it.
        trust = np.asarray(cv2.erode(trust, np.ones((3, 3), np.uint8)))
        moved = np.hypot(rigid.flow[..., 0], rigid.flow[..., 1]) > STANDING
        return Motion(rigid.flow, trust, rigid.change, still & ~moved, unit=unit)

    def _flow(self, of: np.ndarray, to: np.ndarray, begin: np.ndarray | None = None) -> np.ndarray:
        """``uint8 [h, w]`` both → ``float32 [h, w, 2]``, from each cell of the first to its place in the second. begin: where to
        look first."""
        return np.asarray(self._dis.calc(of, to, np.zeros((*of.shape, 2), np.float32) if begin is None else begin.copy()))


def warped(before: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """``float32 [h, w, …]`` of the frame before, sampled bilinearly where each cell was."""
    return np.asarray(cv2.remap(before, *_places(flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _fitted(
    known: KnownMotion | None,
    unit: float | None,
    back: np.ndarray,
    depth: np.ndarray,
    evidence: np.ndarray,
    camera: Camera | None,
    bent: bool,
) -> tuple[RigidMotion | None, bool, float | None]:
    """The camera's own motion, None where there is none to be found; whether known poses are contradicted; and the unit by them,
    which begins anew then."""
    if known is not None and is_told(known, unit, evidence):
        found = fit_known_motion(known, unit, back, depth, evidence, camera)
        if found is not None:
            return found.rigid, False, found.unit
        return None if bent else fit_rigid_motion(back, depth, evidence, camera), True, None
    return None if bent else fit_rigid_motion(back, depth, evidence, camera), False, unit


def _returns(back: np.ndarray, forth: np.ndarray) -> np.ndarray:
    """``bool [h, w]``, where flow there and back ends where it began."""
    returned = back + cv2.remap(forth, *_places(back), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.hypot(returned[..., 0], returned[..., 1]) <= RETURN + RETURN_SHARE * np.hypot(back[..., 0], back[..., 1]))


def _places(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    h, w = flow.shape[:2]
    return flow[..., 0] + np.arange(w, dtype=np.float32), flow[..., 1] + np.arange(h, dtype=np.float32)[:, None]


def _inside(flow: np.ndarray) -> np.ndarray:
    x, y = _places(flow)
    return np.asarray((x >= 0) & (y >= 0) & (x <= flow.shape[1] - 1) & (y <= flow.shape[0] - 1))


def _alike(a: np.ndarray, b: np.ndarray, slack: np.ndarray | float = 0.0) -> np.ndarray:
    """1 where two thumbnails show the same colour in the 3×3 cells around, up to ``slack``, 0 where they do not."""
    red, green, blue = cv2.split(cv2.absdiff(a, b))
    difference = cv2.blur(cv2.max(cv2.max(red, green), blue), (3, 3)) - slack
    return np.clip((np.float32(OTHER) - difference) / np.float32(OTHER - SAME), 0, 1)


def _texture(gray: np.ndarray) -> np.ndarray:
    window = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(gray, window) - cv2.erode(gray, window))
