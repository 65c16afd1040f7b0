"""Benchmarks that anyone can rerun: what is measured is what runs."""
