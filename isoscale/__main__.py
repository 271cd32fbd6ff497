"""`python -m isoscale` is the command line."""

from isoscale.cli import main

main()
