"""`python -m isoscale` is the command line."""

from isoscale.cli import main

if __name__ == "__main__":
    main()
