"""Hypothesis without a deadline, and with the same examples every time: what fails here has failed before it came here.

These machines are shared, and time is never asserted in a test. New examples are searched for with
``--hypothesis-profile=searching``.
"""

import signal

from hypothesis import HealthCheck, settings

_ALWAYS = settings(deadline=None, max_examples=100, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("khunjerab", _ALWAYS, derandomize=True)
settings.register_profile("searching", _ALWAYS, derandomize=False)
settings.load_profile("khunjerab")

# What a shell runs in the background ignores Ctrl-C, and so would every command that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
