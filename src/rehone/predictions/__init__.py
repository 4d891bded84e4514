"""Keep what was served: a row for each prediction, in Parquet files by day and version."""
