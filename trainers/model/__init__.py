"""The fine-tuned classifier: saved, loaded, described, exported."""
