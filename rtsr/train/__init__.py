"""Training: needs the `train` extra; nothing else in rtsr imports it."""
