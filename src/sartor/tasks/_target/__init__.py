"""Forms of answers that tasks share; each is a `sartor.tasks.Target`."""
