"""Forms of answers that tasks share, each a `sartor.tasks.Target`, and what they are made of: cells
read, outputs named, places among them, the schema of a response."""
