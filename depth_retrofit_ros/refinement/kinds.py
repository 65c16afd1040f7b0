"""What the metadata of a refiner's checkpoint says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

KIND = "refiner"  # the key of its name in ``registry.REFINERS``; the sparse one's may lack it
NETWORK = "network"  # the key of its network's shape, as JSON


def network_of(metadata: Mapping[str, str]) -> Any:
    """What is said of the network. Raises ValueError where nothing is, or what a reader of JSON cannot take, however deep."""
    try:
        return json.loads(metadata[NETWORK])
    except (KeyError, RecursionError):
        raise ValueError("no network is described") from None
