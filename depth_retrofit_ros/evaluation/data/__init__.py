"""Images with known depth: data sets on disk, and recorded bags."""
