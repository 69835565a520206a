"""`python -m rtsr` is `rtsr`."""

from .cli import main

main()
