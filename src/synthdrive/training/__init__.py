from synthdrive.core.errors import from_extra

with from_extra("train"):
    import accelerate  # noqa: F401
    import torch  # noqa: F401
