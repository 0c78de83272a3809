"""Files and objects to clean, split examples: read, profile, clean, split. No torch."""
