from synthdrive.core.errors import from_extra

with from_extra("pipeline"):
    import pandas  # noqa: F401
