"""The depth node: parameters, callbacks, the processor of one image, outputs, and the process around them."""
