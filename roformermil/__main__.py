"""`python -m roformermil` is the command `roformermil`."""

from roformermil.cli import main

if __name__ == "__main__":
    main()
