"""Read `rehone.toml`: every key has a default and a description, every problem is listed at once."""

from rehone.config.databases import duckdb_file, is_database, is_duckdb
from rehone.config.editing import difference, with_keys
from rehone.config.outside import Storage, Trackers
from rehone.config.promotion import Deploy, Gate
from rehone.config.reading import import_class, load_config, parse_config
from rehone.config.replays import Backtest
from rehone.config.sections import (
    ACCEPT_SELECTION,
    CONFIG_NAME,
    Config,
    Data,
    Project,
    Trigger,
    section_model,
)
from rehone.config.service import Predictions, Serve, Shadow
from rehone.config.training import BUILT_IN, Candidate, Train

__all__ = [
    "ACCEPT_SELECTION",
    "BUILT_IN",
    "CONFIG_NAME",
    "Backtest",
    "Candidate",
    "Config",
    "Data",
    "Deploy",
    "Gate",
    "Predictions",
    "Project",
    "Serve",
    "Shadow",
    "Storage",
    "Trackers",
    "Train",
    "Trigger",
    "difference",
    "duckdb_file",
    "import_class",
    "is_database",
    "is_duckdb",
    "load_config",
    "parse_config",
    "section_model",
    "with_keys",
]
