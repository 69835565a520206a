"""Recordings of speech: where they are listed, what lines do to them, and what they are scored by."""
