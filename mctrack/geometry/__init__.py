"""Calibrated cameras and the floor that people stand on: metres, z up, the floor is z = 0."""
