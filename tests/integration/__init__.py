"""Real nodes on free ports, spoken to as their users speak to them."""
