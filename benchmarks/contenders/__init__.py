"""The ways of doing the same job, each a script that is run as a process of its own.

All but the pipeline run in `.venv-bench`, and import nothing of h3_pipeline: they are what somebody
without it would write. What must be the same for all (tables, rollups) comes to them as SQL, in the `job`.
"""
