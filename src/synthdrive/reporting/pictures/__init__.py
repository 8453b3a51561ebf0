from synthdrive.core.extras import from_extra

with from_extra("report"):
    import matplotlib  # noqa: F401
    import torch  # noqa: F401
