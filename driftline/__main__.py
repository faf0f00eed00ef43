"""`python -m driftline`: the command line."""

from driftline.stream.cli.main import main

main()
