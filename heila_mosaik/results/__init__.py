"""Run folders: Parquet parts, manifest, key figures, report."""
