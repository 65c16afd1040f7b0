"""Which topics of a bag to take where the user named none: the names that drivers give them tell."""

from __future__ import annotations

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import COMPRESSED_TYPE, IMAGE_TYPE, INFO_TYPE, Bag, deserialize
from depth_retrofit_ros.io.encodings import DEPTHS

COMPRESSED = "/compressed"
_DEPTH_TRANSPORT = "/compressedDepth"


def find_image_topic(bag: Bag) -> str:
    """The only topic with images that are not depth; raw, where the same images are compressed too. Raises BagError."""
    images = [name for name, topic in bag.topics.items() if topic.msgtype in (IMAGE_TYPE, COMPRESSED_TYPE) and topic.count]
    images = [name for name in images if not name.endswith(_DEPTH_TRANSPORT)]
    depth = {name for name in images if bag.topics[name].msgtype == IMAGE_TYPE and _holds_depth(bag, name)}
    color = sorted(name for name in images if name.removesuffix(COMPRESSED) not in depth)
    color = [name for name in color if not (name.endswith(COMPRESSED) and name.removesuffix(COMPRESSED) in color)]
    if len(color) != 1:
        found = f"{len(color)} image topics ({', '.join(color)})" if color else "no image topic"
        raise BagError(f"{bag.path.name} has {found}: choose one with --image-topic")
    return color[0]


def find_info_topic(bag: Bag, image_topic: str) -> str | None:
    """``camera_info`` beside the image topic, as image_transport has it; None where the bag has none."""
    beside = f"{image_topic.removesuffix(COMPRESSED).rpartition('/')[0]}/camera_info"
    topic = bag.topics.get(beside)
    return beside if topic is not None and topic.msgtype == INFO_TYPE and topic.count else None


def _holds_depth(bag: Bag, topic: str) -> bool:
    first = next(bag.messages([topic]))
    return deserialize(first.data, IMAGE_TYPE).encoding in DEPTHS
