"""A calibrated multi-camera world with exact ground truth.

Ray-cast rooms, articulated people with a walking gait drawn by a NumPy z-buffer, cameras with distortion and
their own colours, and truth that is exact because it is read off the depth buffer. Start with
:func:`mctrack.synth.world.generate` or ``mctrack synth scene``.
"""
