"""`python -m stir`, the same as `stir`."""

from stir.cli import main

main(prog_name="stir")
