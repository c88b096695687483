"""What takes sealed bulletins from a publisher to a subscriber: our node, and its peers, behind one contract."""
