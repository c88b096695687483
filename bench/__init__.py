"""Speed, always as a ratio to a floor or a peer that ran interleaved in the same run."""
