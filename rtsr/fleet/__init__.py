"""`rtsr fleet`: bridges on many machines behind one address. Ray runs and watches them; no sound passes through it."""
