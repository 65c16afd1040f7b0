"""What the node says about itself: diagnostics, log, and checks of the stream of images."""
