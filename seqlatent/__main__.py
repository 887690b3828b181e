"""`python -m seqlatent` is the command line."""

from seqlatent.cli import main

main()
