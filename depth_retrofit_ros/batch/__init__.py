"""Photos, videos and bags as frames, and many of them by several workers: on this machine, or on a cluster by Ray."""
