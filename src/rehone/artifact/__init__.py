"""Hold a trained model so that it can be stored, proved, loaded and asked: bytes in, predictor out.

`Predictor` answers; `pack` and `unpack` turn it into the files of a version and back;
`Golden` rows prove that what was loaded is what was trained. `rows` says how any table
becomes the model's matrix, `trust` which types a stored model may consist of.
"""

from rehone.artifact.layers import laid_over, log_odds
from rehone.artifact.marks import NEAR_FILE, fingerprints, near_fingerprints, pack_near, read_near
from rehone.artifact.packed import (
    FINGERPRINTS_FILE,
    GOLDEN_FILE,
    MODEL_FILE,
    PREPROCESSOR_FILE,
    PROFILE_FILE,
    check_requires,
    installed,
    pack,
    pack_model,
    read_fingerprints,
    read_golden,
    read_profile,
    requirements,
    unpack,
    unpack_model,
)
from rehone.artifact.predictor import Golden, Predictor, check_golden, make_golden, one_thread
from rehone.artifact.rows import Rows, encode, frame_of, learn_contract
from rehone.artifact.trust import ALLOWED_TYPES

__all__ = [
    "ALLOWED_TYPES",
    "FINGERPRINTS_FILE",
    "GOLDEN_FILE",
    "MODEL_FILE",
    "NEAR_FILE",
    "PREPROCESSOR_FILE",
    "PROFILE_FILE",
    "Golden",
    "Predictor",
    "Rows",
    "check_golden",
    "check_requires",
    "encode",
    "fingerprints",
    "frame_of",
    "installed",
    "laid_over",
    "learn_contract",
    "log_odds",
    "make_golden",
    "near_fingerprints",
    "one_thread",
    "pack",
    "pack_model",
    "pack_near",
    "read_fingerprints",
    "read_golden",
    "read_near",
    "read_profile",
    "requirements",
    "unpack",
    "unpack_model",
]
