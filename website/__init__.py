"""What only the site has: its home page, sounds to compare, and pages made from the code. Builds with `make site`."""
