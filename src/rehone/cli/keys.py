"""Make keys, sign versions that exist, and say who has signed what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rehone.cli.options import json_option, project_option
from rehone.cli.printing import print_found

if TYPE_CHECKING:
    from rehone.config import Config, Deploy
    from rehone.records import Check, ModelVersion
    from rehone.signing import NewKey
    from rehone.store import Store

DEFAULT_FILE = "signing.pem"


@click.group()
def keys() -> None:
    """Make keys, sign versions with them, and see who has signed what.

    `rehone keys new` makes a key and says what to write into rehone.toml; from then on every new
    version is signed, and one that no trusted key has signed is not loaded.
    """


@keys.command()
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@project_option
@json_option
def new(file: Path | None, project: str, as_json: bool) -> int:
    """Make an Ed25519 key: FILE for the pipeline alone, FILE.pub for everyone who loads.

    Without FILE it is signing.pem in the project's folder. A folder that is missing is made.
    Nothing is overwritten. What to write into rehone.toml is printed.
    """
    from rehone import signing

    root = _root(project)
    path = file if file is not None else root / DEFAULT_FILE
    _make_folder(path.parent)
    made = signing.new_key(path)
    plain = {"id": made.id, "private": str(made.private), "public": str(made.public)}
    print_found(plain, lambda: list(_new_lines(made, root)), as_json=as_json)
    return 0


@keys.command()
@click.argument("versions", metavar="VERSION...", nargs=-1, required=True)
@project_option
@json_option
def sign(versions: tuple[str, ...], project: str, as_json: bool) -> int:
    """Sign versions that exist with deploy.signing_key; a service that refused one takes it over then.

    VERSION is an id or any unique beginning of one. Sign only what you know the origin of.
    """
    config, store, policy = _opened(project)
    done = list(_signed(store, config, policy, versions))
    plain = [{"version": version.id, "key": key} for version, key in done]
    lines = [f"version {version.short} is signed by key {key}" for version, key in done]
    print_found(plain, lambda: lines, as_json=as_json)
    return 0


@keys.command()
@project_option
@json_option
def check(project: str, as_json: bool) -> int:
    """List the versions with the keys that signed them. Changes nothing.

    Exits with 2 when the live version would not be loaded, or a key cannot be used.
    """
    from rehone.cli import endings
    from rehone.cli.text import check_lines, width
    from rehone.records import CheckStatus

    _, store, policy = _opened(project)
    found = tuple(_checks(store, policy))
    lines = [line for one in found for line in check_lines(one, width())]
    none = ["no version yet: `rehone run` makes a first one"]
    print_found(found, lambda: lines or none, as_json=as_json)
    return endings.MUST_FIX if any(one.status is CheckStatus.ACT for one in found) else endings.GOOD


def _make_folder(folder: Path) -> None:
    from rehone.errors import SigningError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SigningError(f"the folder {folder} cannot be made ({error.strerror}): choose another place") from None


def _root(project: str) -> Path:
    path = Path(project)
    return path if path.is_dir() else path.parent


def _opened(project: str) -> tuple[Config, Store, Deploy]:
    from rehone import signing
    from rehone.config import load_config
    from rehone.store import Store

    config = load_config(Path(project))
    return config, Store.of(config), signing.policy_of(config)


def _new_lines(made: NewKey, root: Path) -> Iterator[str]:
    private, public = _named(made.private, root), _named(made.public, root)
    yield f"key {made.id}"
    yield f"  {made.private}  private: for the pipeline alone, never in version control"
    yield f"  {made.public}  public: copy it to everyone who loads versions"
    yield ""
    yield "In the rehone.toml of the pipeline, to sign and to check:"
    yield "  [deploy]"
    yield f"  signing_key = {private}"
    yield f"  trusted_keys = {_trusted(root, public)}"
    yield "In the rehone.toml of every service and of everyone who loads, to check:"
    yield "  [deploy]"
    yield f"  trusted_keys = {_trusted(root, public)}"
    yield ""
    yield "Versions that exist are not signed by it yet: `rehone keys sign VERSION`, first the live one."


def _trusted(root: Path, public: str) -> str:
    """Write the list of trusted keys with the new one added, for a rotation keeps the former."""
    from rehone.config import load_config
    from rehone.errors import ConfigError

    try:
        before = load_config(root).deploy.trusted_keys
    except ConfigError:
        before = ()
    return f"[{', '.join([*(json.dumps(name, ensure_ascii=False) for name in before), public])}]"


def _named(path: Path, root: Path) -> str:
    """Write a path as rehone.toml would: counted from the project's folder where it lies inside."""
    whole, base = path.absolute(), root.absolute()
    return json.dumps(str(whole.relative_to(base) if whole.is_relative_to(base) else whole), ensure_ascii=False)


def _signed(
    store: Store, config: Config, policy: Deploy, versions: tuple[str, ...]
) -> Iterator[tuple[ModelVersion, str]]:
    from rehone import signing
    from rehone.errors import SigningError

    seal = signing.signer(policy)
    if seal is None:
        raise SigningError(
            f"no deploy.signing_key is set in {config.root / 'rehone.toml'}: make a key with `rehone keys new`"
        )
    for version in [store.version(wanted) for wanted in versions]:
        key, text = seal(version.id)
        store.sign(version.id, key, text)
        yield version, key


def _checks(store: Store, policy: Deploy) -> Iterator[Check]:
    from rehone import signing
    from rehone.errors import SigningError
    from rehone.records import Check, CheckStatus

    head = store.head()
    live = head.version if head else None
    try:
        trusted = signing.trusted(policy) if policy.trusted_keys else {}
    except SigningError as error:
        yield Check(name="trusted_keys", status=CheckStatus.ACT, detail=str(error))
        return
    if policy.signing_key and (because := _exposed(Path(policy.signing_key))):
        yield Check(name="signing_key", status=CheckStatus.WARN, detail=because)
    versions = store.versions()
    if live is not None and live not in {version.id for version in versions}:
        yield _unreadable(store, live)
    for version in versions:
        yield _who(store, version.id, policy, live=version.id == live, trusted=frozenset(trusted))


def _unreadable(store: Store, live: str) -> Check:
    """Say why the live version is not among those that can be listed."""
    from rehone.errors import StoreError
    from rehone.records import Check, CheckStatus, short_id

    try:
        store.version(live)
        why = "it was published a moment ago, ask again"
    except StoreError as error:
        why = str(error)
    return Check(name="signature", subject=short_id(live), status=CheckStatus.ACT, detail=f"live, not known: {why}")


def _exposed(path: Path) -> str | None:
    from rehone import signing

    return signing.exposed(path) if path.exists() else None


def _who(store: Store, version: str, policy: Deploy, *, live: bool, trusted: frozenset[str]) -> Check:
    from rehone import signing
    from rehone.errors import SigningError
    from rehone.records import Check, CheckStatus, short_id

    signatures = store.signatures(version)
    names = ", ".join(f"{key}{'' if key in trusted else ' (not trusted)'}" for key in sorted(signatures)) or "nobody"
    said, status = f"{'live, ' if live else ''}signed by {names}", CheckStatus.OK
    try:
        if signing.require(version, signatures, policy) is None:
            said, status = f"{said}; deploy.trusted_keys is not set, so that nothing is verified", CheckStatus.UNKNOWN
    except SigningError as error:
        said, status = f"{said}; {error}", CheckStatus.ACT if live else CheckStatus.WARN
    return Check(name="signature", subject=short_id(version), status=status, detail=said)
