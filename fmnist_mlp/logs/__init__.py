"""What TensorBoard sees: every path under `logs/`.

`views` keeps the folder of a sweep in step with its records; `live` writes curves while a trial trains, `trial_run`
what its record adds to them, `sweep_run` what belongs to no single trial. `events` hides the format of event files.
"""
