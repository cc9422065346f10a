"""`python -m fmnist_mlp VERB`: what can be done with a finished sweep."""

import sys

if __name__ == "__main__":
    try:
        from fmnist_mlp.cli.verbs import verbs

        sys.exit(verbs())
    except KeyboardInterrupt:  # while its modules are imported, which takes a moment
        print("interrupted", file=sys.stderr)
        sys.exit(130)
