"""One file for each part; a part is found by its file."""
