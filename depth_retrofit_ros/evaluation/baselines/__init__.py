"""Other ways to bring the same coarse map to the frame's size: what the method is measured against."""
