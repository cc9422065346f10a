"""What TensorBoard sees: a sweep under `logs/`, and each of its trials under `results/_trials/`.

`views` keeps both in step with the records; `live` writes curves while a trial trains, `trial_run` what its record adds
to them. `overview` has a run for each architecture, `sweep_run` what belongs to no single trial, `hparams` the rows of
the HParams page, `earlier` what older versions left. `events` hides the format of event files.
"""
