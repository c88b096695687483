"""What tests share: fakes that police their contract, and the checkers."""
