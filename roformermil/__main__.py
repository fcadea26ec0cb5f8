"""`python -m roformermil` is the command `roformermil`."""

from roformermil.cli import main

main()
