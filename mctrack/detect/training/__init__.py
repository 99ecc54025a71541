"""Training of the person detector that ships: network, targets, composed pictures, loop, export. Needs torch."""
