"""What we change in TensorFlow while it traces a program, by names that it keeps to itself.

None of it changes a number. Each has a guard: where TensorFlow has no such name any more, or means something else by
it, programs are as TensorFlow makes them, slower or compiled anew.
"""

import contextlib
import hashlib
from collections import Counter

try:
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops as _gen_xla_ops
    from tensorflow.python.eager.polymorphic_function import concrete_function as _concrete_function
    from tensorflow.python.ops import control_flow_util_v2 as _control_flow
    from tensorflow.python.ops import random_ops_util as _random_ops_util
except ImportError:
    _concrete_function = _control_flow = _gen_xla_ops = _random_ops_util = None

_times_named: Counter[str] = Counter()  # in this process


@contextlib.contextmanager
def same_names(program: str):
    """For the block in which a program is traced: its functions are named after it, whatever was traced before.

    TensorFlow numbers all functions of a process and XLA's cache goes by their names, so it would find a program only
    in a process that traced the same ones before it. A second program of the same name gets other names. It can go
    when the test in tests/test_program_cache.py holds without it.

    Args:
        program: the same for the same program.
    """
    key = hashlib.sha256(program.encode()).hexdigest()[:16]

    def named(*words) -> str:
        name = "_".join((*words, key)).replace("/", "_")
        _times_named[name] += 1
        return f"{name}_{_times_named[name]}"

    ours = [
        (_concrete_function, "_inference_name", lambda name: named("__inference", name)),
        (_control_flow, "unique_fn_name", lambda scope, name: named(scope + name)),
    ]
    stocks = [(module, name, getattr(module, name, None)) for module, name, _ in ours]
    if any(stock is None for *_, stock in stocks):
        yield
        return
    try:
        for module, name, function in ours:
            setattr(module, name, function)
        yield
    finally:
        for module, name, stock in stocks:
            setattr(module, name, stock)


@contextlib.contextmanager
def quick_random_numbers():
    """While a program is traced: keep XLA from computing the key of dropout's random numbers anew for each of them.

    XLA on CPUs fuses the scrambling of the seed into the loop that draws the numbers, and repeats it for every one. A
    barrier between the two gives the same numbers six times as fast (benchmarks/loops.py --random). It goes through
    names that TensorFlow 2.21 keeps to itself; where they are gone or mean something else, the numbers come slowly, and
    a test says so. It can go when `benchmarks/loops.py --random` shows no difference.
    """
    stock = getattr(_random_ops_util, "get_key_counter_alg", None)
    barrier = getattr(_gen_xla_ops, "xla_optimization_barrier", None)
    if stock is None or barrier is None:
        yield
        return

    def with_barrier(*arguments, **named_arguments):
        stocks = stock(*arguments, **named_arguments)
        try:
            key, counter, alg = stocks
            key, counter = barrier(input=[key, counter])
        except Exception:  # it is another function than that of TensorFlow 2.21: what it gives is right as it is
            return stocks
        return key, counter, alg

    _random_ops_util.get_key_counter_alg = with_barrier
    try:
        yield
    finally:
        _random_ops_util.get_key_counter_alg = stock
