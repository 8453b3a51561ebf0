"""A track on a circle, for tests."""

import numpy as np

TIME = 0.1 * np.arange(50)


def circle(radius, speed):
    """A track (1, 50, 2) on a circle at a constant speed, m and m/s."""
    angle = speed * TIME / radius
    return radius * np.stack([np.sin(angle), 1.0 - np.cos(angle)], axis=-1)[None]
