"""Khunjerab: a secure bilateral broker for threat bulletins. This package puts the command together."""
