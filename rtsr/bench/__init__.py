"""What is timed and how: latency, throughput, comparison and start-up, on the machine of whoever asks."""
