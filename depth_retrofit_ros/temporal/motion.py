"""What moved between two frames, on the coarse grid: a small optical flow, and where it can be trusted.

DIS (Kroeger et al. 2016) in its fastest preset but for its finest scale, both ways, on the frames' averages over the cells. Where
the camera stands nothing is warped at all, so that no map is blurred by being resampled frame after frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.temporal.rigid_motion import AGREES, AGREES_SHARE, fit_rigid_motion

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


@dataclass(frozen=True, slots=True)
class Motion:
    """flow: ``float32 [h, w, 2]``, x and y in cells, to where each cell's surface was in the frame before, None where the camera
    stands; trust: ``float32 [h, w]``, 0…1, that it was there; change: ``float32 [h, w]``, ln(depth now / then) by the camera's own
    motion, of one that creeps too, None where it is unknown; still: ``bool [h, w]``, what looks the same in the same place."""

    flow: np.ndarray | None
    trust: np.ndarray
    change: np.ndarray | None
    still: np.ndarray

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
    ) -> Motion:
        """before, now: ``float32 [h, w, 3]`` 0…1, the frames' averages over the cells; depth: ``float32 [h, w]`` of this frame, up
        to scale; usable: ``bool [h, w]``, where it is known; seen: ``bool [h, w]``, what the lens shows, None where that is all;
        bent: whether the image is a lens's own, of which ``camera`` says too little to tell a motion."""
        seen = np.ones(depth.shape, bool) if seen is None else seen
        alike = np.where(seen, _alike(before, now), np.float32(0))
        still = alike > 0.5
        grays = [cv2.cvtColor(small, cv2.COLOR_RGB2GRAY) for small in (before, now)]
        texture = _texture(grays[1])
        textured = seen & (texture >= TEXTURE)
        if np.count_nonzero(textured) <= LEAST_TEXTURED * np.count_nonzero(seen):
            return Motion(None, np.zeros_like(alike), None, np.zeros_like(still))
        if min(now.shape[:2]) < LEAST_SIDE:
            stands = np.mean(still[textured]) >= SAME_SHARE
            return Motion(None, alike if stands else np.zeros_like(alike), None, still & stands)
        old, new = ((gray * 255).astype(np.uint8) for gray in grays)
        back = self._flow(new, old)
        length = np.hypot(back[..., 0], back[..., 1])
        if np.mean(still[textured]) >= SAME_SHARE and np.quantile(length[textured], STANDING_SHARE) <= STANDING:
            moving = textured & (length > ITS_OWN)
            stays = cv2.dilate(moving.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
            creeps = None if bent else fit_rigid_motion(back, depth, usable & textured & stays, camera)
            change = None if creeps is None else creeps.change
            return Motion(None, np.where(stays, alike, np.float32(0)), change, still & stays)
        forth = self._flow(old, new)
        returned = back + cv2.remap(forth, *_places(back), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        consistent = np.hypot(returned[..., 0], returned[..., 1]) <= RETURN + RETURN_SHARE * length
        rigid = None if bent else fit_rigid_motion(back, depth, usable & consistent & textured, camera)
        if rigid is None:  # what moved is unknown: only what stands still is followed, by its own flow
            stands = still & textured & consistent & (length <= STANDING)
            return Motion(None, np.where(stands, alike, np.float32(0)), None, stands)
        off = rigid.flow - back
        agrees = np.hypot(off[..., 0], off[..., 1]) <= AGREES + AGREES_SHARE * length
        trust = _alike(warped(before, rigid.flow), now, np.float32(SLACK) * cv2.blur(texture, (3, 3)))
        trust[textured & ~(agrees & consistent)] = 0
        trust[~_inside(rigid.flow) | ~seen] = 0
        # The cells beside one that moves by itself hold some of it.
        trust = np.asarray(cv2.erode(trust, np.ones((3, 3), np.uint8)))
        moved = np.hypot(rigid.flow[..., 0], rigid.flow[..., 1]) > STANDING
        return Motion(rigid.flow, trust, rigid.change, still & ~moved)

    def _flow(self, of: np.ndarray, to: np.ndarray) -> np.ndarray:
        """``uint8 [h, w]`` both → ``float32 [h, w, 2]``, from each cell of the first to its place in the second."""
        return np.asarray(self._dis.calc(of, to, np.zeros((*of.shape, 2), np.float32)))


def warped(before: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """``float32 [h, w, …]`` of the frame before, sampled bilinearly where each cell was."""
    return np.asarray(cv2.remap(before, *_places(flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


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
