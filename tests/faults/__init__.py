"""Operations that fail, or fail after they happened, then a reopening."""
