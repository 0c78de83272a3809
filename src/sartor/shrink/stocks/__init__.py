"""One file a kind of folder that stock libraries load; see `shrink.stock`."""
