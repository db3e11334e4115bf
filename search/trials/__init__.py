"""Who runs which trial, and what one is: preparation, worker processes, pruning, progress."""
