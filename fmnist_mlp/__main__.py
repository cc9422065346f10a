"""`python -m fmnist_mlp VERB`: what can be done with a finished sweep."""

import gc
import sys

if __name__ == "__main__":
    try:
        from fmnist_mlp.cli.verbs import verbs

        code = verbs()
        gc.freeze()  # see sweep.py
        sys.exit(code)
    except KeyboardInterrupt:  # while its modules are imported, which takes a moment
        print("interrupted", file=sys.stderr)
        sys.exit(130)
