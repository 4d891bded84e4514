"""Read dated files lazily, know exactly what was read, and refuse what is not fit to learn from."""

from rehone.data.facts import ColumnFacts, DataFacts
from rehone.data.files import FileInfo
from rehone.data.source import Source, open_source
from rehone.data.validate import freshness, missing_features, validate

__all__ = ["ColumnFacts", "DataFacts", "FileInfo", "Source", "freshness", "missing_features", "open_source", "validate"]
