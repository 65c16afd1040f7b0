"""The types that networks compute in, by the names that options, parameters and torch have for them."""

PRECISIONS = ("float32", "bfloat16", "float16")
