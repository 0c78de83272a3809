"""A run's outcome for people: one HTML page, a notebook table, terminal tables."""
