"""The study: everything that knows Optuna, the terminal or the web."""
