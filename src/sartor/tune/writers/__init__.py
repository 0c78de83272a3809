"""One file a way to come by a model that writes; see `tune.writing`."""
