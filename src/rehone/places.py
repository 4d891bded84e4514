"""Name a folder or a file that may lie on this machine or in an object store, without touching it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True, slots=True, order=True)
class Remote:
    """An address in an object store, such as s3://bucket/prefix; it is taken apart and joined like a path."""

    url: str

    def __post_init__(self) -> None:
        scheme, _, rest = self.url.partition("://")
        object.__setattr__(self, "url", f"{scheme}://{'/'.join(part for part in rest.split('/') if part)}")

    def __truediv__(self, name: str) -> Remote:
        return Remote(f"{self.url}/{name}")

    def __str__(self) -> str:
        return self.url

    @property
    def bucket(self) -> str:
        """The address of the whole bucket."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"

    @property
    def key(self) -> str:
        """What follows the bucket, without a slash at either end."""
        return self.url.partition("://")[2].partition("/")[2]

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0] or self.name

    @property
    def parent(self) -> Remote:
        return Remote(self.url.rpartition("/")[0]) if self.key else self

    def with_name(self, name: str) -> Remote:
        """Return the address of that name in the same folder."""
        return self.parent / name

    def relative_to(self, other: Remote) -> str:
        """Return what leads from a folder above to this address.

        Raises:
            ValueError: it does not lie below that folder.
        """
        if not self.url.startswith(f"{other.url}/"):
            raise ValueError(f"{self} does not lie below {other}")
        return self.url[len(other.url) + 1 :]


Place: TypeAlias = Path | Remote

_SERVICES = ("s3://", "gs://", "az://")


def is_remote(text: str) -> bool:
    """Say whether a setting names an object store rather than a folder."""
    return text.startswith((*_SERVICES, "memory://"))


def wrong_with_place(text: str) -> str | None:
    """Say what is wrong with a setting that is to name a folder or an object store; `None` when nothing is."""
    if "://" not in text:
        return None
    if not text.startswith(_SERVICES):
        return f"{text!r} names no folder and no object store: begin it with {', '.join(_SERVICES)}, or give a path"
    if not Remote(text).bucket.partition("://")[2]:
        return f"{text!r} names no bucket: write one, as in {_SERVICES[0]}bucket/folder"
    if {".", ".."} & set(text.split("/")):
        return f"{text!r} holds a part . or .., which an object store does not know: write the address without it"
    return None


def place_of(root: Path, text: str) -> Place:
    """Return the place that a setting names; folders are counted from `root`."""
    return Remote(text) if is_remote(text) else root / text
