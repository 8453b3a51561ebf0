from synthdrive.core.extras import from_extra

with from_extra("pipeline"):
    import pandas  # noqa: F401
