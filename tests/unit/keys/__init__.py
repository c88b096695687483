"""Keys: what holds, and what does not."""
