"""Who computes: many calls in worker processes of this machine, in this process for a debugger, or on Ray.

Knows nothing of Keras, of sweeps or of files.
"""
