"""A pre-trained encoder: found, checked, loaded, cut in two."""
