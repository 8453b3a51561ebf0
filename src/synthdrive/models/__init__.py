from synthdrive.core.errors import from_extra

with from_extra("train"):
    import torch  # noqa: F401
