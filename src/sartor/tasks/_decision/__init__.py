"""What the decision rules of several tasks have in common: logits that are no numbers, and when to
say nothing."""
