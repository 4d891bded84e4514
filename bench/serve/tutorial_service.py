"""Serve the model the way tutorials show it: FastAPI, pydantic, one pandas frame per request, a global pipeline.

Needs MODEL, the path of the pipeline fitted on a frame.
"""

from __future__ import annotations

import os
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = joblib.load(os.environ["MODEL"])


class Payment(BaseModel):
    amount: float | None
    hour: float | None
    velocity_1h: float | None
    velocity_24h: float | None
    distance_km: float | None
    merchant_risk: float | None
    device_age_days: float | None
    balance: float | None
    age: float | None
    tenure_days: float | None
    chargebacks: float | None
    session_seconds: float | None


class Payments(BaseModel):
    rows: list[Payment]


@app.post("/predict")
def predict(payments: Payments) -> dict[str, Any]:
    frame = pd.DataFrame([row.model_dump() for row in payments.rows])
    probabilities = model.predict_proba(frame)[:, 1]
    return {"predictions": [{"probability": float(p), "decision": bool(p >= 0.35)} for p in probabilities]}
