"""Multi-camera tracking with ReID association: every person gets one ID that holds across cameras and absences."""

__version__ = "0.1.0"
