"""What stands between a stream and the world: rings, any block size, files."""
