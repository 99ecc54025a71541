"""Building blocks of the networks. Nothing is imported here: each module brings torch with it."""
