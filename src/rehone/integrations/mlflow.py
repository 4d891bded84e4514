"""Tell MLflow of runs and deployments: a run for each run, a model version for each deployed version, aliases."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LoggedModelOutput, Metric, Param, Run, RunTag
from mlflow.entities.model_registry import ModelVersion as Registered
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from rehone import signing
from rehone.config import Config
from rehone.errors import NotFound
from rehone.observers import facts
from rehone.records import Deployment, RunRecord, RunStatus
from rehone.store import Store, has_store, standing

RECORD_FILE = "run.json"
CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
LONGEST_PARAM, LONGEST_TAG = 6000, 5000
BATCH = 100
_NOT_IN_A_NAME = re.compile(r"[^\w\-. :/]")


class MlflowTracker:
    """One project's experiment and registered model."""

    def __init__(self, config: Config) -> None:
        self._config = config
        uri = config.trackers.mlflow_uri or mlflow.get_tracking_uri()
        if uri.startswith("file:") or "://" not in uri:  # whoever names a folder asks for the file store
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        mlflow.set_tracking_uri(uri)
        self._uri = uri
        self._name = config.trackers.mlflow_model or config.project.name
        self._client = MlflowClient(uri)
        self._experiment = self._experiment_id(config.trackers.mlflow_experiment or config.project.name)

    # runs

    def tell_run(self, record: RunRecord, file: bytes) -> str:
        """Log a closed run, once however often it is told, and let the aliases follow the deployment log."""
        run_id = self._run_of(record.run_id) or self._begin(record)
        self._log(run_id, record)
        self._client.log_text(run_id, file.decode(), RECORD_FILE)
        self._end(run_id, record)
        self._follow()
        return f"{self._web()}/#/experiments/{self._experiment}/runs/{run_id}" if self._web() else f"runs:/{run_id}"

    def _run_of(self, rehone_run: str) -> str | None:
        found = self._client.search_runs(
            [self._experiment], filter_string=f"tags.`rehone.run_id` = '{rehone_run}'", max_results=1
        )
        return str(found[0].info.run_id) if found else None

    def _begin(self, record: RunRecord) -> str:
        tags = {"rehone.run_id": record.run_id, "mlflow.source.name": "rehone", "mlflow.user": record.host}
        made: Run = self._client.create_run(
            self._experiment, start_time=_ms(record.started_at), tags=tags, run_name=record.run_id
        )
        return str(made.info.run_id)

    def _log(self, run_id: str, record: RunRecord) -> None:
        ended = record.finished_at or record.started_at
        tags = {f"rehone.{name}": value for name, value in facts.tags(record).items()}
        tags["mlflow.note.content"] = record.sentence
        if record.git_commit:
            tags["mlflow.source.git.commit"] = record.git_commit
        everything = (
            [Metric(_named(n), value, _ms(ended), 0) for n, value in facts.metrics(record).items()],
            [Param(_named(n), value[:LONGEST_PARAM]) for n, value in facts.params(record).items()],
            [RunTag(name, value[:LONGEST_TAG]) for name, value in tags.items()],
        )
        for kind, items in zip(("metrics", "params", "tags"), everything, strict=True):
            for batch in _batches(items):
                self._client.log_batch(run_id, **{kind: batch})

    def _end(self, run_id: str, record: RunRecord) -> None:
        failed = record.status is RunStatus.FAILED
        self._client.set_terminated(
            run_id, "FAILED" if failed else "FINISHED", end_time=_ms(record.finished_at or record.started_at)
        )

    def _experiment_id(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name))
        except MlflowException:  # somebody else made it meanwhile
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    # versions and aliases

    def tell_deployment(self, deployment: Deployment) -> str:
        """Register the version of a deployment, note the deployment there, and let the aliases follow the log."""
        registered = self._follow()
        said = f"{deployment.action} ({deployment.state}) at {deployment.at.isoformat()} by {deployment.actor}"
        note = (f"rehone.deployment.{deployment.generation:06d}", f"{said}: {deployment.reason}"[:LONGEST_TAG])
        if deployment.version is None:
            self._client.set_registered_model_tag(self._name, *note)
            return self._link(None)
        version = registered.get(deployment.version) or self._registered(deployment.version)
        if version is not None:
            self._client.set_model_version_tag(self._name, version, *note)
        return self._link(version)

    def _follow(self) -> dict[str, str]:
        """Let champion, previous and challenger be what the deployment log says; return what is registered of them.

        They are always set from the log as it is now, so that telling late, twice or out of
        order, and whatever was moved by hand, comes right.
        """
        wanted = _aliases(self._store())
        model = self._model(make=bool(wanted))
        if model is None:
            return {}
        made = {version: self._registered(version) for version in dict.fromkeys(wanted.values())}
        numbers = {alias: made[version] for alias, version in wanted.items()}
        for alias in (CHAMPION, PREVIOUS, CHALLENGER):
            number, there = numbers.get(alias), model.aliases.get(alias)
            if number is None and there is not None:
                self._client.delete_registered_model_alias(self._name, alias)
            elif number is not None and str(there) != number:
                self._client.set_registered_model_alias(self._name, alias, number)
        return {version: number for version, number in made.items() if number is not None}

    def _model(self, *, make: bool) -> Any:
        try:
            return self._client.get_registered_model(self._name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        if not make:
            return None
        said = f"Deployed by Rehone, project {self._config.project.name}. Aliases follow its deployment log."
        return self._client.create_registered_model(self._name, description=said)

    def _registered(self, version: str) -> str | None:
        """Return the number of a version in the registry, registered if need be; `None` when its files are gone."""
        found: Sequence[Registered] = self._client.search_model_versions(
            f"name = '{_quoted(self._name)}' and tags.`rehone.version` = '{version}'"
        )
        if found:
            return str(min(int(v.version) for v in found))
        store = self._store()
        try:
            return self._register(store, version) if store else None
        except NotFound:
            return None

    def _register(self, store: Store, wanted: str) -> str:
        version = store.version(wanted)
        run_id = self._run_of(version.manifest.run_id)
        tags = {"rehone.version": version.id, "rehone.run_id": version.manifest.run_id}
        from rehone.integrations import mlflow_model

        with tempfile.TemporaryDirectory() as room:
            folder = Path(room) / "model"
            model = self._client.create_logged_model(
                self._experiment,
                name=f"rehone-{version.short}",
                source_run_id=run_id,
                tags=tags,
                model_type="classifier",
            )
            mlflow_model.save(folder, version, store, signing.policy_of(self._config))
            self._client.log_model_artifacts(model.model_id, str(folder))
        self._client.finalize_logged_model(model.model_id, "READY")
        if run_id:
            self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
        made = self._client.create_model_version(
            self._name,
            f"models:/{model.model_id}",
            run_id=run_id,
            tags=tags,
            model_id=model.model_id,
            description=f"Rehone version {version.short} of run {version.manifest.run_id}",
        )
        return str(made.version)

    def _store(self) -> Store | None:
        return Store.of(self._config) if has_store(self._config) else None

    # links

    def _web(self) -> str:
        return self._uri.rstrip("/") if self._uri.startswith(("http://", "https://")) else ""

    def _link(self, version: str | None) -> str:
        tail = f"/versions/{version}" if version else ""
        if self._web():
            return f"{self._web()}/#/models/{self._name}{tail}"
        return f"models:/{self._name}{f'/{version}' if version else ''}"


def _aliases(store: Store | None) -> dict[str, str]:
    """Return the version of each alias that fits one: what is live, what a rollback goes back to, what came after."""
    if store is None:
        return {}
    records, versions = store.log(), sorted(store.versions(), key=lambda v: (v.manifest.created_at, v.id))
    live = records[-1].version if records else None
    earlier = [version for version in standing(records) if version != live]
    found = {CHAMPION: live, PREVIOUS: earlier[-1] if earlier else None}
    if versions and versions[-1].id not in (live, found[PREVIOUS]):
        found[CHALLENGER] = versions[-1].id
    return {alias: version for alias, version in found.items() if version is not None}


def _named(name: str) -> str:
    return _NOT_IN_A_NAME.sub("_", name)[:250]


def _quoted(name: str) -> str:
    return name.replace("'", "\\'")


def _ms(when: datetime) -> int:
    return round(when.timestamp() * 1000)


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
