"""The need: what a user asks for, read with line numbers, and the verdict's form."""
