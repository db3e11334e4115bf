"""One fine-tune: features of the frozen part, training, looks, what it found."""
