"""SynthDrive: pre-training on synthetic driving data for trajectory prediction, as a versioned pipeline."""

__version__ = "0.1.0"
