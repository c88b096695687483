"""Formats: what each decoder accepts, and what it refuses."""
