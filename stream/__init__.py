"""From prediction events to alerts: a pure part (values in, values out) and adapters at the edge.

`tests/project/test_project.py` says which module is which, the import contracts in `pyproject.toml` enforce it.
"""
