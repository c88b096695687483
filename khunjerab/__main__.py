"""``python -I -m khunjerab``: how our own child processes and units start."""

from khunjerab.cli import main

main()
