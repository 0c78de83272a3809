"""One base, many users: each user's own head or low-rank updates over one shared graph."""
