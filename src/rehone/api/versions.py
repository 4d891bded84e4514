"""Load a version, or put an earlier one back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rehone import deploy, signing
from rehone.api.door import Where, config_of, now, store_of, user
from rehone.api.telling import observe
from rehone.errors import NotFound
from rehone.records import Deployment
from rehone.runlog import RunLog, refuse_lost_store
from rehone.store import Store, has_store

if TYPE_CHECKING:
    from rehone.artifact import Predictor


def load(project: Where = ".", version: str | None = None) -> Predictor:
    """Load a version, the live one unless told otherwise, as a predictor.

    Its `predict_proba` takes named columns (a Polars or pandas frame, a mapping of columns or a
    list of rows) and returns probabilities of label 1, shape (n,). `project` may also be the
    path of a store.

    Raises:
        NotFound: nothing is live, or there is no such version.
        Corrupt: a file does not match its digest, or preprocessor and model do not belong together.
        SigningError: no key of `deploy.trusted_keys` has signed it.
    """
    from rehone import artifact

    store, config = store_of(project)
    if version is None:
        head = store.head()
        if head is None or head.version is None:
            raise NotFound(f"nothing is live in {store.root}: `rehone run` makes a first version")
        version = head.version
    found, policy = store.version(version), signing.policy_of(config)
    files = store.read(found.id)
    signing.require(found.id, store.signatures(found.id), policy)
    return artifact.unpack(
        found.manifest, files, version=found.id, allow_joblib=policy.allow_joblib, trusted=policy.trusted_types
    )


def rollback(
    project: Where = ".",
    *,
    to: str | None = None,
    because: str = "",
    listen: Callable[[Deployment], None] | None = None,
) -> Deployment:
    """Put an earlier version back: one more record in the log, whatever became of data and code.

    Args:
        to: id of a version, or its start; `"none"` serves nothing; left out: the version that
            was confirmed before the live one.
        listen: is given the record as soon as it is in the log, before trackers are told of it.

    Raises:
        NotFound: there is no such version, or none to go back to.
        Corrupt: that version is damaged and must not go live.
        StoreError: it is not signed as `deploy.trusted_keys` asks, or never proved itself.
    """
    config = config_of(project)
    if not has_store(config):
        refuse_lost_store(config, RunLog.of(config).lines())
    store = Store.of(config)
    head = store.head()
    order = deploy.Order(
        expect_generation=head.generation if head else 0,
        actor=user(),
        reason=because or "rolled back by hand",
    )
    made = deploy.rollback(store, to, order, clock=now, policy=signing.policy_of(config))
    if listen:
        listen(made)
    observe(config, made.at)
    return made
