from synthdrive.core.errors import from_extra

with from_extra("report"):
    import matplotlib  # noqa: F401
    import torch  # noqa: F401
