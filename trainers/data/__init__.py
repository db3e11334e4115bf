"""From a file to splits of tokens: read, checked, cleaned, split."""
