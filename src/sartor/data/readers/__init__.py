"""One file a format; the file's name is the format's public name."""
