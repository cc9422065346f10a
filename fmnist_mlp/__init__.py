"""Sweep Keras MLP architectures over Fashion-MNIST: one YAML file in, one table of honest numbers out."""

__version__ = "0.1.0"
