"""Bytes to values and back: the wire formats of Khunjerab, as protocol/SPEC.md has them.

Pure: no I/O, no clock, no randomness. Time, nonces and keys come in as arguments.
"""
