"""`python -m azmend` is the command `azmend`."""

from ._cli import main

main()
