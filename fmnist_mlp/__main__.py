"""`python -m fmnist_mlp VERB`: what can be done with a finished sweep."""

import sys

from fmnist_mlp.cli import verbs

if __name__ == "__main__":
    sys.exit(verbs())
