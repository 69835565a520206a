"""What is timed, how, and the stored results. A benchmark prints and stores; it never fails for being slow."""
