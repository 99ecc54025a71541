"""``python -m mctrack``."""

from mctrack.cli import main

main()
