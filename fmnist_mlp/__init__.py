"""Sweep Keras MLP architectures over Fashion-MNIST: one YAML file in, one table of honest numbers out.

From Python: `sweep = fmnist_mlp.run("architectures.yaml")`, then `sweep.table`, `sweep.history`, `sweep.model()`.
"""

from fmnist_mlp.errors import SweepError

__all__ = ["SweepError", "run"]
__version__ = "0.1.0"


def __getattr__(name: str):
    """`run` is imported when somebody asks for it: to import the package itself costs nothing."""
    if name == "run":
        from fmnist_mlp.cli.python import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
