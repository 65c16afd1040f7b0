"""What runs a coarse model's network: torch itself, or a compiler or runtime that makes a program of it for inputs of one size."""
