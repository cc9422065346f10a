"""The one kind of error a user can mend.

A `SweepError` is about the sweep file, the data, a path or a missing extra: `cli` prints its message without a
traceback and exits with code 2. Anything else that is raised is a bug of ours and keeps its traceback.
"""


class SweepError(Exception):
    """Something the user can mend; the message says what is wrong, where, what was expected and what to do.

    Args:
        message: one line, or one line for each problem where there are several.
    """
