"""A Ray cluster whose nodes fit: how this process joins it, its workers, and the pool that drives them."""
