"""Our formats, read by programs that are not ours."""
