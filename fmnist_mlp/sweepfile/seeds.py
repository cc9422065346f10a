"""Which numbers seeds are: those that a sweep file names, and reserved streams that none can.

What is trained after a choice takes its seeds from a stream of its own. Seeds that helped to choose were lucky for what
was chosen, and would be so again; reserved ones are fresh however many seeds the sweep file asks for, today or later.

All seeds are below 2**32: numpy reads a larger one as two numbers, so that (seed, epoch) could be another's, and
scikit-learn refuses it.
"""

MAX_SEED = 2**31 - 1  # of a sweep file

_FIRST = MAX_SEED + 1

# A seed is part of a trial's fingerprint: a new stream is added at the end, and none is ever taken away.
_STREAMS = ("refit", "search")

_LENGTH = 2**24  # seeds in a stream; there is room for 128 streams


def reserved(stream: str, number: int) -> int:
    """The seed that has this number, from 0, in a reserved stream.

    Raises:
        ValueError: there is no such stream, or no such number in it.
    """
    if not 0 <= number < _LENGTH:
        raise ValueError(f"a reserved stream has {_LENGTH:,} seeds, numbered from 0; got {number}")
    return _FIRST + _STREAMS.index(stream) * _LENGTH + number


def seed_number(seed: int) -> int:
    """What a person calls a seed in its stream: `reserved("refit", 3)` is 3, a sweep file's own seed is itself."""
    return seed if seed <= MAX_SEED else (seed - _FIRST) % _LENGTH


def seed_in_words(seed: int) -> str:
    """`seed 3`, `refit 3`, `search seed 3`."""
    stream = "seed" if seed <= MAX_SEED else _STREAMS[(seed - _FIRST) // _LENGTH]
    return f"{'search seed' if stream == 'search' else stream} {seed_number(seed)}"
