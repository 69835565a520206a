"""What is timed and how: latency, throughput, comparison and start-up, on this machine."""
