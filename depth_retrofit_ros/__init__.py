"""Dense, sharp, metric depth at camera resolution from one camera, live on ROS 2 (after "2K Retrofit", arXiv 2603.19964)."""

__version__ = "0.1.0"
