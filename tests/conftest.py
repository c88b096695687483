"""Hypothesis without a deadline: these machines are shared, and time is never asserted in a test."""

from hypothesis import settings

settings.register_profile("khunjerab", deadline=None, max_examples=100, print_blob=True)
settings.load_profile("khunjerab")
