"""Draw what may be raised at you as a tree; only these cross Rehone's boundary.

RehoneError
├── ConfigError        rehone.toml cannot be used; every problem is listed
├── DataError          a source cannot be read at all
│   └── SourceAway     the object store or database that holds it does not answer, or does not let us read
├── TrainingError      no candidate could be fitted
│   └── ClusterAway    the Dask or Ray cluster that was to fit them does not answer, or lost its workers
├── StoreError
│   ├── Conflict       somebody else deployed first; the verdict is stale
│   ├── Corrupt        bytes do not match their digest, or are not what they claim
│   ├── NotFound       no such version, run or generation
│   ├── Locked         another run is under way
│   ├── Unreachable    an object store does not answer, or does not let us in
│   └── SigningError   a version is not signed as asked for, or a key cannot be used
└── ArtifactError      a version cannot be loaded, or was given rows it cannot read
    └── ContractError  the columns given are not the columns the model was trained on
"""

from __future__ import annotations

from collections.abc import Sequence


class RehoneError(Exception):
    """Something a person can put right: the message gives the value, the limit and the remedy."""


class ConfigError(RehoneError):
    """The configuration cannot be used; `problems` lists everything that is wrong."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {p}" for p in self.problems)]))


class DataError(RehoneError):
    """A source cannot be read at all."""


class SourceAway(DataError):
    """An object store or a database that holds data does not answer, or does not let us read; no file is to blame."""


class TrainingError(RehoneError):
    """No candidate could be fitted."""


class ClusterAway(TrainingError):
    """The Dask or Ray cluster that was to fit candidates does not answer, or lost its workers."""


class StoreError(RehoneError):
    """The store cannot do what was asked of it."""


class Conflict(StoreError):
    """Somebody else deployed first: what was judged is no longer what is live."""


class Corrupt(StoreError):
    """Stored bytes do not match their digest, or are not what they claim to be."""


class NotFound(StoreError):
    """There is no such version, run or generation."""


class Locked(StoreError):
    """Another run is under way in this project."""


class Unreachable(StoreError, OSError):
    """An object store does not answer, or does not let us in; production stays as it is."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class SigningError(StoreError):
    """A version is not signed as `deploy.trusted_keys` asks, or a key cannot be used."""


class ArtifactError(RehoneError):
    """A version cannot be loaded, or was given rows that it cannot read."""


class ContractError(ArtifactError):
    """The columns given are not the columns that the model was trained on."""
