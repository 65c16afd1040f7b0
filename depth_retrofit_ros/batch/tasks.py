"""What workers of a batch are asked, and what they answer."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from depth_retrofit_ros.batch.inputs import Item

if TYPE_CHECKING:
    from depth_retrofit_ros.ros.replay.bag_parts import BagPart

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """what: ``divide`` a bag into parts, or ``answer`` an image, a video or a part. number: of the part, from 0; identity: of the
    bag when it was divided."""

    what: Literal["divide", "answer"]
    item: Item
    number: int = 0
    part: BagPart | None = None
    identity: str | None = None

    @property
    def seal(self) -> str:
        """The name of the file that says that this is done."""
        return f"items/{self.item.name}.{'parts' if self.what == 'divide' else f'{self.number:05d}'}.json"


@dataclass(slots=True)
class Done:
    """What a seal holds. identity: of the input, see ``inputs.identity``; files: name, size, SHA-256; rows: of the table, one a
    frame; remarks: what was odd, one line each; parts: of a divided bag; facts: what computed it."""

    input: str
    kind: str
    identity: str
    number: int = 0
    files: list[list[Any]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    parts: list[Row] | None = None
    facts: Row = field(default_factory=dict)
    seconds: float = 0.0


def packed(part: BagPart) -> Row:
    """As JSON."""
    return {**asdict(part), "packed_infos": base64.b64encode(part.packed_infos).decode()}


def unpacked(told: Row) -> BagPart:
    """See ``packed``."""
    from depth_retrofit_ros.ros.replay.bag_parts import BagPart

    return BagPart(**{**told, "packed_infos": base64.b64decode(told["packed_infos"])})
