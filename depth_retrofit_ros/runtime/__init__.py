"""Real time: a slot for the newest frame, one worker, and the statistics of what it did. No ROS here."""
