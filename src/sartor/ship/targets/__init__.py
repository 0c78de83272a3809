"""The places a bundle can run; one file, or folder, each."""
