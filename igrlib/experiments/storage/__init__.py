"""Files that appear whole or not at all, with the hash of their own contents."""
