"""How messages travel: QoS, the DDS profile, and domains of one's own."""
