"""Which topics of a bag to take where the user named none: the names that drivers give them tell."""

from __future__ import annotations

from depth_retrofit_ros.errors import BagError
from depth_retrofit_ros.evaluation.data.bag import COMPRESSED_TYPE, IMAGE_TYPE, INFO_TYPE, Bag, deserialize

IMAGE_TYPES = (IMAGE_TYPE, COMPRESSED_TYPE)
COMPRESSED = "/compressed"
_DEPTH_TRANSPORT = "/compressedDepth"
_INFRARED = "mono16"  # infrared or thermal images; from a few drivers, and then so called, depth
_DEPTH = ("16UC1", "32FC1")  # depth, or a thermal camera's raw counts: not to be guessed


def find_image_topic(bag: Bag) -> str:
    """The only topic with images that are not depth; raw, where the same images are compressed too. Raises BagError.

    Infrared (mono16) counts where there is nothing else. 16UC1 and 32FC1 are only taken by name: they may be depth.
    """
    candidates = [name for name, topic in bag.topics.items() if topic.msgtype in IMAGE_TYPES]
    kinds = {name: kind for name in candidates if (kind := _encoding(bag, name)) is not None}
    empty = sorted(set(candidates) - kinds.keys())
    kinds = {name: kind for name, kind in kinds.items() if not name.endswith(_DEPTH_TRANSPORT)}
    depth = {name for name, kind in kinds.items() if kind in _DEPTH or (kind == _INFRARED and "depth" in name.lower())}
    others = [name for name in kinds if name not in depth and name.removesuffix(COMPRESSED) not in depth]
    found = [name for name in others if kinds[name] != _INFRARED] or others
    found = sorted(name for name in found if not (name.endswith(COMPRESSED) and name.removesuffix(COMPRESSED) in found))
    if len(found) == 1:
        return found[0]
    if found:
        raise BagError(f"{bag.path.name} has {len(found)} image topics ({', '.join(found)}): choose one with --image-topic")
    if empty:
        raise BagError(f"{bag.path.name} has no images: its topics {', '.join(empty)} are empty; record while the camera runs")
    if depth:
        told = ", ".join(f"{name} ({kinds[name]})" for name in sorted(depth))
        if all(kinds[name] == "32FC1" for name in depth):
            raise BagError(f"{bag.path.name} has no image topic, only depth: {told}; record the camera's images too")
        raise BagError(
            f"{bag.path.name} has no image topic, only what may be depth: {told}; if it shows images, give --image-topic"
        )
    raise BagError(f"{bag.path.name} has no image topic; {_content(bag)}: record a topic of Image or CompressedImage")


def find_info_topic(bag: Bag, image_topic: str) -> str | None:
    """``camera_info`` beside the image topic, as image_transport has it; None where the bag has none."""
    beside = f"{image_topic.removesuffix(COMPRESSED).rpartition('/')[0]}/camera_info"
    topic = bag.topics.get(beside)
    return beside if topic is not None and topic.msgtype == INFO_TYPE and topic.count else None


def _encoding(bag: Bag, topic: str) -> str | None:
    """Of the first sound image; empty where it is compressed or none is sound, None where there is none at all."""
    if bag.topics[topic].msgtype == COMPRESSED_TYPE:
        return None if bag.first(topic) is None else ""
    try:
        encoding = bag.first(topic, lambda message: deserialize(message.data, IMAGE_TYPE).encoding)
    except BagError:
        return ""
    return None if encoding is None else str(encoding)


def _content(bag: Bag) -> str:
    """What there is instead."""
    topics = [f"{name} ({entry.msgtype or 'no type'}, {entry.count} messages)" for name, entry in sorted(bag.topics.items())]
    topics += [f"{name} ({encoding})" for name, encoding in sorted(bag.foreign.items())]
    return f"it holds {', '.join(topics[:8])}{' and more' if len(topics) > 8 else ''}" if topics else "it holds no message"
