"""What the lower layers tell of their work: spans, metrics, and what is being done just now.

Nothing here imports OpenTelemetry's SDK or Dagster. `h3_pipeline.ops` sets the exporters up.
"""
