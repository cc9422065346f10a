"""Sweep dense-layer stacks over Fashion-MNIST: `python sweep.py [SWEEP.yaml]`.

What happens, and where to read it:

1. The sweep file becomes a validated `Sweep`, or errors that name its lines    fmnist_mlp/sweepfile/
2. The images are found, and every trial gets its fingerprint                   fmnist_mlp/data/
3. Trials that have a record are done; the rest is the plan                     fmnist_mlp/runner/, results/
4. Worker processes train them, one core each                                   fmnist_mlp/engines/
5. Each trial: split, model, epochs as compiled programs, test images once      fmnist_mlp/training/
6. Curves go to logs/ while they train, records and tables to results/          fmnist_mlp/logs/, results/

Options, progress and the table on the screen are in fmnist_mlp/cli/.
"""

import gc
import sys

if __name__ == "__main__":
    try:
        from fmnist_mlp.cli.sweep import main

        code = main()
        gc.freeze()  # it ends a quarter of a second sooner where nobody looks for garbage once more
        sys.exit(code)
    except KeyboardInterrupt:  # while its modules are imported, which takes a moment
        print("interrupted", file=sys.stderr)
        sys.exit(130)
