"""Test vectors: a file is one expectation; the scripts that made them stand beside."""
