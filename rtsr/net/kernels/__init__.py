"""Triton's kernels: what the torch form of the path does in hundreds of launches, in a few.

Nothing here is imported where Triton is not installed: see `fused_net` and `fused_path`, which call the kernels.
"""
