"""Read a table of a database: ask for the days and columns that are used, and go on as with files."""

from rehone.data.warehouse.source import Warehouse, open_warehouse

__all__ = ["Warehouse", "open_warehouse"]
