"""Make `python -m rehone` the command `rehone`, for an interpreter that is named by its path."""

from rehone.cli import main

raise SystemExit(main())
