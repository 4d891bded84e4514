"""Save a version as an MLflow model, and be the module that MLflow loads it with.

    MLmodel            two flavours: python_function (this module) and sklearn (the pipeline on its own)
    model.skops        the scikit-learn pipeline on the encoded matrix, with the types that it may consist of
    versions/<id>/     the files of the version, manifest and all: what `mlflow.pyfunc.load_model` reads

`mlflow.pyfunc.load_model` takes rows by name, as the service does, and gives the same
probabilities: it encodes and scores with Rehone itself. Every file is held against its digest
first, and the types against the list pinned in this installation, not in the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow.environment_variables import MLFLOW_ALLOW_PICKLE_DESERIALIZATION
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import AnyType, ColSpec, DataType, Schema
from numpy.typing import NDArray

from rehone import artifact, codec, signing
from rehone.artifact import Predictor
from rehone.config import Deploy
from rehone.errors import Corrupt
from rehone.records import Contract, Manifest, ModelVersion
from rehone.store import Store

MANIFEST = "manifest.json"
EXAMPLE_ROWS = 5
_TAKEN_ALONG = ("rehone", "scikit-learn", "numpy", "lightgbm", "skops", "polars")


class RehoneModel:
    """What `mlflow.pyfunc.load_model` gives: rows in, probabilities out."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> NDArray[np.float64]:  # noqa: ARG002
        """Return the probability of label 1 for each row, shape (n,).

        Raises:
            ContractError: columns are missing or of another type; all are listed.
        """
        return self.predictor.predict_proba(model_input)


def save(folder: Path, version: ModelVersion, store: Store, policy: Deploy) -> Model:
    """Write a version as an MLflow model into a folder that does not exist yet.

    Args:
        policy: with absolute paths, as `signing.policy_of` gives it.

    Raises:
        NotFound, Corrupt, ArtifactError: the version cannot be loaded.
        SigningError: no trusted key has signed it.
    """
    files, trusted = store.read(version.id), policy.trusted_types
    signing.require(version.id, store.signatures(version.id), policy)
    pickled = any(name.endswith(".joblib") for name in files)
    predictor = artifact.unpack(
        version.manifest, files, version=version.id, allow_joblib=policy.allow_joblib, trusted=trusted
    )
    model = Model(metadata=_metadata(version.manifest, version.id))
    mlflow.sklearn.save_model(
        predictor.pipeline,
        path=str(folder),
        mlflow_model=model,
        serialization_format="cloudpickle" if pickled else "skops",
        skops_trusted_types=[*artifact.ALLOWED_TYPES, *trusted],
        signature=_signature(version.manifest.contract),
        input_example=_example(files),
        pip_requirements=[f"{name}=={version.manifest.requires[name]}" for name in _TAKEN_ALONG],
    )
    inside = f"versions/{version.id}"
    (folder / inside).mkdir(parents=True)
    manifest = store.disk.read(store.root / "versions" / version.id / MANIFEST)
    for name, content in {**files, MANIFEST: manifest}.items():
        (folder / inside / name).write_bytes(content)
    mlflow.pyfunc.add_to_model(
        model,
        loader_module=__name__,
        data=inside,
        conda_env="conda.yaml",
        python_env="python_env.yaml",
        model_config={"trusted_types": list(trusted)} if trusted else None,
    )
    model.model_size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    model.save(str(folder / "MLmodel"))
    return model


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> RehoneModel:
    """Load what `save` wrote; MLflow calls this.

    Raises:
        Corrupt: a file is not the one that the version was published with.
        ArtifactError: it consists of types that are neither pinned nor named by `trusted_types`.
    """
    folder = Path(path)
    manifest = (folder / MANIFEST).read_bytes()
    found = hashlib.sha256(manifest).hexdigest()
    if found != folder.name:
        raise Corrupt(
            f"{MANIFEST} is that of version {found[:12]}, not of {folder.name[:12]}: download the model again"
        )
    predictor = artifact.unpack(
        codec.decode(manifest, Manifest, source=str(folder / MANIFEST)),
        {p.name: p.read_bytes() for p in folder.iterdir() if p.name != MANIFEST},
        version=folder.name,
        allow_joblib=MLFLOW_ALLOW_PICKLE_DESERIALIZATION.get(),
        trusted=tuple((model_config or {}).get("trusted_types", ())),
    )
    return RehoneModel(predictor)


def _signature(contract: Contract) -> ModelSignature:
    """Name the columns. Their types stay open, for MLflow's own check refuses what Rehone reads: a
    whole number where most were fractions, a null, 0 or 1 for a boolean."""
    columns = [ColSpec(AnyType(), feature.name) for feature in contract.features]
    return ModelSignature(inputs=Schema(columns), outputs=Schema([ColSpec(DataType.double)]))


def _example(files: Mapping[str, bytes]) -> pd.DataFrame | None:
    rows = artifact.read_golden(files).rows[:EXAMPLE_ROWS]
    return pd.DataFrame(list(rows)) if rows else None


def _metadata(manifest: Manifest, version: str) -> dict[str, Any]:
    return {
        "rehone.version": version,
        "rehone.run_id": manifest.run_id,
        "rehone.label": manifest.contract.label,
        "rehone.threshold": manifest.threshold,
        "rehone.features": {feature.name: str(feature.kind) for feature in manifest.contract.features},
    }
