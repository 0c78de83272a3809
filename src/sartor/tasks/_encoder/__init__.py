"""What tasks on texts share: an encoder with a head, and models that answer as one does."""
