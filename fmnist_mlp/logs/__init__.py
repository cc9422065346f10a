"""What TensorBoard sees: every path under `logs/`."""
