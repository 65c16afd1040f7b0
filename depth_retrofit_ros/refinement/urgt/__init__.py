"""URGT: tiles as views of one multi-view transformer (arXiv 2603.03026)."""
