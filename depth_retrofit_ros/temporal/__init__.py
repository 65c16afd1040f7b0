"""What one frame leaves for the next: a steady scale, a steady coarse map, and refined pixels that need no budget again."""
