"""The story of the exchange, told with the public commands."""
