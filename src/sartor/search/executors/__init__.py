"""One file an executor; its name is what `--on` takes."""
