"""The machine: which device, CUDA streams and graphs, threads, buffers that are used again, memory."""
