"""Read dated files lazily, know exactly what was read, and refuse what is not fit to learn from."""

from rehone.data.facts import ColumnFacts, DataFacts
from rehone.data.files import FileInfo
from rehone.data.source import Source, open_source
from rehone.data.validate import freshness, validate

__all__ = ["ColumnFacts", "DataFacts", "FileInfo", "Source", "freshness", "open_source", "validate"]
