"""optuna-dashboard for one study, guarded and explained in words."""
