"""`rtsr fleet`: bridges on many machines behind one address. Ray places and watches them; no sound passes through it."""
