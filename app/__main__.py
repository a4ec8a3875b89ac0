"""`python -m app` and `backlot`: the command line. Opening the house needs little of it and loads no more."""

import sys

if sys.argv[1:] in ([], ["up"]):
    from app.up import main
else:
    from app.cli import main

run = main

if __name__ == "__main__":
    main()
