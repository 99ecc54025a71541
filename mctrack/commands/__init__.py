"""One module per command; each imports click alone at its top."""
