"""Save the model for `mlflow models serve`: `mlflow_service.py FRAME_JOBLIB FEATURES_JSON OUT`.

The signature says that every column is a number, and probabilities are answered, not classes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import joblib
import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

pipeline, names, out = sys.argv[1:]
columns = [ColSpec("double", name) for name in json.loads(Path(names).read_text())]
mlflow.sklearn.save_model(
    joblib.load(pipeline),
    out,
    serialization_format="cloudpickle",
    pyfunc_predict_fn="predict_proba",
    signature=ModelSignature(Schema(columns)),
    pip_requirements=[],
)
