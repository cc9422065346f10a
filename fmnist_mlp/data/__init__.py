"""On what: one `Dataset` from an IDX folder, Keras's cache, a download or the generated stand-in; splits and folds."""
