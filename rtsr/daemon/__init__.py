"""A voice enhancer that people leave running: the live engine, and what starts, steers and shows it."""
