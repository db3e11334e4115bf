"""Trials in other programs' trackers: MLflow, TensorBoard, Weights & Biases, Trackio. Each runs in a process of its own."""
