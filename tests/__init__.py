"""The tests: unit (mirrors the tree), integration, interop, faults, property."""
