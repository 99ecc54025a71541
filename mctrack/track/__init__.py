"""One camera: motion, assignment, tracks."""
