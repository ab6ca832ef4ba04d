"""`python -m streamarchive` is the command `streamarchive`."""

from streamarchive.cli import main

main()
