"""How a checkpoint says of which refiner it is."""

KIND = "refiner"  # the key in its metadata; the sparse one's may lack it
