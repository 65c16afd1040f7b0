"""The world of thin things: fences, wires, stems, foliage and legs of a fraction of a coarse cell, before any background."""
