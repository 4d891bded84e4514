"""Read dated files lazily, know exactly what was read, and refuse what is not fit to learn from."""

from rehone.data.engines import NAMED, EngineSource, open_engine
from rehone.data.facts import ColumnFacts, DataFacts
from rehone.data.files import FileInfo
from rehone.data.joining import Labels, findings_of, newest_due, open_labels
from rehone.data.rows import Rows
from rehone.data.served import DECISION, ID, SCORE, VERSION, Served, open_served
from rehone.data.skew import skew
from rehone.data.source import Source, open_source
from rehone.data.taught import Taught, learn_from
from rehone.data.validate import freshness, missing_features, validate

__all__ = [
    "DECISION",
    "ID",
    "NAMED",
    "SCORE",
    "VERSION",
    "ColumnFacts",
    "DataFacts",
    "EngineSource",
    "FileInfo",
    "Labels",
    "Rows",
    "Served",
    "Source",
    "Taught",
    "findings_of",
    "freshness",
    "learn_from",
    "missing_features",
    "newest_due",
    "open_engine",
    "open_labels",
    "open_served",
    "open_source",
    "skew",
    "validate",
]
