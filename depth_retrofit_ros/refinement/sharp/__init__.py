"""SharpDepth: a sharp answer without scale and a blurred one with it, told apart by where they disagree (arXiv 2411.18229)."""
