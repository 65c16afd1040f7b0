"""Who computes the sparse convolutions: one protocol, one registry, one file or folder for each backend."""
