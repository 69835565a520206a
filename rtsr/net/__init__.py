"""The network in torch, and its weight files, which are read without torch."""
