"""Write the folder that `mlserver start` serves: `mlserver_service.py MATRIX_JOBLIB OUT HTTP GRPC METRICS`.

Its default of one parallel worker does not start on Python 3.11; without, it predicts in its one process.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

pipeline, out, http, grpc, metrics = sys.argv[1:]
folder = Path(out)
folder.mkdir(parents=True, exist_ok=True)
shutil.copy(pipeline, folder / "model.joblib")
ports = {"http_port": int(http), "grpc_port": int(grpc), "metrics_port": int(metrics)}
settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
model = {
    "name": "bench",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": "./model.joblib", "extra": {"predict_fn": "predict_proba"}},
}
(folder / "settings.json").write_text(json.dumps(settings))
(folder / "model-settings.json").write_text(json.dumps(model))
