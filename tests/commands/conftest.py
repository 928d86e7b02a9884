from tracking.fixtures import empty_database, root, store  # noqa: F401
