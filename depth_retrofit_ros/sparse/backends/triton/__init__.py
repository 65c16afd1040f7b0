"""The ``triton`` backend: one fused kernel for every convolution, for inference on CUDA."""
