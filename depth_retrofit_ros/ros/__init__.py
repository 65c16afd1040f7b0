"""The only folder that imports rclpy and message types."""
