"""`python -m app` is the `backlot` command."""

from app.cli import main

main()
