"""`python -m seqlatent` is the command line."""

from seqlatent.cli.app import main

main()
