"""What must hold for every input that Hypothesis finds."""
