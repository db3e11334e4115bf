"""One fit: data, encoder, cached features, training, prediction. Knows torch and transformers, not Optuna."""
