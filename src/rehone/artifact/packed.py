"""Turn a predictor into the files of a version, and the files back into a predictor."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import logging
import platform
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rehone import __version__, codec
from rehone.artifact.layers import check_layer
from rehone.artifact.predictor import Golden, Predictor
from rehone.artifact.trust import ALLOWED_TYPES, check_trees, untrusted
from rehone.errors import ArtifactError, Corrupt
from rehone.records import Check, CheckStatus, Manifest, Profile

log = logging.getLogger(__name__)

PREPROCESSOR_FILE = "preprocessor.skops"
MODEL_FILE = "model.skops"
PROFILE_FILE = "profile.json"
GOLDEN_FILE = "golden.json"
FINGERPRINTS_FILE = "fingerprints.npy"
_INSTALL = {"xgboost": "pip install 'rehone[xgboost]'"}
_LIBRARIES = ("scikit-learn", "numpy", "lightgbm", "skops", "polars")


def pack(
    predictor: Predictor,
    profile: Profile,
    golden: Golden,
    *,
    fingerprints: NDArray[np.uint64] | None = None,
    allow_joblib: bool = False,
    trusted: Sequence[str] = (),
) -> dict[str, bytes]:
    """Return the files of a version by name; nothing is written to disk.

    The preprocessor and the model are files of their own; the digests in one manifest tie them.
    A part that skops cannot store within the allow-list is kept as joblib when that is allowed.

    Raises:
        ArtifactError: a part holds types that are not allowed; they are named, with the line of
            the configuration that would allow them.
    """
    files = pack_model(predictor, allow_joblib=allow_joblib, trusted=trusted)
    files[PROFILE_FILE] = codec.encode(profile)
    files[GOLDEN_FILE] = codec.encode(golden)
    if fingerprints is not None:
        files[FINGERPRINTS_FILE] = _npy(np.unique(np.asarray(fingerprints, dtype=np.uint64)))
    return files


def pack_model(predictor: Predictor, *, allow_joblib: bool = False, trusted: Sequence[str] = ()) -> dict[str, bytes]:
    """Return the files of preprocessor and model alone.

    Raises:
        ArtifactError: a part holds types that are not allowed.
    """
    steps = predictor.pipeline.named_steps
    parts = {PREPROCESSOR_FILE: steps["preprocess"], MODEL_FILE: steps["model"]}
    return dict(_dumped(name, part, allow_joblib, trusted) for name, part in parts.items())


def unpack_model(files: Mapping[str, bytes], *, allow_joblib: bool = False, trusted: Sequence[str] = ()) -> Any:
    """Return the scikit-learn pipeline of the files that `pack_model` made; whose they are is not looked at.

    Raises:
        Corrupt: one is missing.
        ArtifactError: one holds types that are not allowed, or cannot be built.
    """
    return _pipeline(
        _loaded(PREPROCESSOR_FILE, files, allow_joblib, trusted), _loaded(MODEL_FILE, files, allow_joblib, trusted)
    )


def unpack(
    manifest: Manifest,
    files: Mapping[str, bytes],
    *,
    version: str | None = None,
    allow_joblib: bool = False,
    trusted: Sequence[str] = (),
) -> Predictor:
    """Return the predictor that a version's files hold, after verifying every one of them.

    Digests come first, then the types, and only then is anything built. A library of another
    version than the one trained with is logged; the golden rows decide whether it matters.

    Raises:
        Corrupt: a file is missing or is not the one that the manifest names, such as the
            preprocessor of another version; or its recalibration is none that Rehone makes.
        ArtifactError: a file holds types that are not allowed, or cannot be built.
    """
    _verify(manifest, files)
    for check in check_requires(manifest):
        if check.status is not CheckStatus.OK:
            log.warning("library_version_differs", extra={"library": check.subject, "detail": check.detail})
    check_layer(manifest.recalibration)
    pipeline = unpack_model(files, allow_joblib=allow_joblib, trusted=trusted)
    _fits(pipeline, manifest)
    return Predictor(
        contract=manifest.contract,
        pipeline=pipeline,
        threshold=manifest.threshold,
        version=version,
        recalibration=manifest.recalibration,
    )


def read_profile(files: Mapping[str, bytes]) -> Profile:
    """Return the profile of a version's files."""
    return codec.decode(_present(files, PROFILE_FILE), Profile, source=PROFILE_FILE)


def read_golden(files: Mapping[str, bytes]) -> Golden:
    """Return the golden rows of a version's files."""
    return codec.decode(_present(files, GOLDEN_FILE), Golden, source=GOLDEN_FILE)


def read_fingerprints(files: Mapping[str, bytes]) -> NDArray[np.uint64] | None:
    """Return the sorted fingerprints of the training rows, or None when they were not kept.

    Raises:
        Corrupt: the file is not an array of them.
    """
    if FINGERPRINTS_FILE not in files:
        return None
    try:
        found = np.load(io.BytesIO(files[FINGERPRINTS_FILE]), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise Corrupt(f"{FINGERPRINTS_FILE} cannot be read ({error}): the file was changed or cut short") from None
    if not isinstance(found, np.ndarray) or found.dtype != np.uint64 or found.ndim != 1:
        raise Corrupt(f"{FINGERPRINTS_FILE} is not a row of 64-bit numbers: the file was changed")
    return found


def requirements(predictor: Predictor | None = None) -> dict[str, str]:
    """Return the versions of what a model is made with, for its manifest.

    A library that only some models need is named where the predictor's model is one of them.
    """
    found = installed()
    model = None if predictor is None else predictor.pipeline.named_steps["model"]
    if not type(model).__module__.startswith("xgboost."):
        found.pop("xgboost", None)
    return found


def installed() -> dict[str, str]:
    """Return the versions here of all libraries that a model may be made with."""
    found = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    for distribution in ("xgboost-cpu", "xgboost"):  # the same library, without and with code for graphics cards
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found["xgboost"] = importlib.metadata.version(distribution)
    return {"python": platform.python_version(), "rehone": __version__, **found}


def check_requires(manifest: Manifest) -> tuple[Check, ...]:
    """Compare the libraries here with those of the manifest: one check each, at worst a warning."""
    here = installed()
    return tuple(_version_check(name, want, here.get(name)) for name, want in sorted(manifest.requires.items()))


def _version_check(name: str, want: str, have: str | None) -> Check:
    same = have is not None and have.split(".")[:2] == want.split(".")[:2]
    return Check(
        name="requires",
        subject=name,
        status=CheckStatus.OK if same else CheckStatus.WARN,
        detail=f"{name} is {have or 'not installed'}, the version was made with {want}",
        remedy="" if same else f"install {name}=={want}, unless the golden rows are reproduced",
    )


# --- writing ---------------------------------------------------------------------------------


def _dumped(name: str, part: Any, allow_joblib: bool, trusted: Sequence[str]) -> tuple[str, bytes]:
    import skops.io

    try:
        data = skops.io.dumps(part, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
        strange = untrusted(data, trusted)
    except Exception as error:  # whatever a foreign estimator raises while it is taken apart is told below
        if allow_joblib:
            return _joblib_name(name), _joblib_bytes(part)
        raise ArtifactError(
            f"{name}: skops cannot store {_path(part)} ({error}): use another estimator, or set "
            "`allow_joblib = true` under [deploy], for a store that you alone can write"
        ) from error
    if not strange:
        return name, data
    if allow_joblib:
        return _joblib_name(name), _joblib_bytes(part)
    raise ArtifactError(_not_allowed(name, strange))


def _not_allowed(name: str, types: Sequence[str]) -> str:
    listed = ", ".join(f'"{t}"' for t in types)
    return (
        f"{name} holds types that are not on the allow-list ({', '.join(types)}): if you trust them, write "
        f"`trusted_types = [{listed}]` under [deploy], or `allow_joblib = true` for a store that you alone can write"
    )


def _joblib_name(name: str) -> str:
    return name.removesuffix(".skops") + ".joblib"


def _joblib_bytes(part: Any) -> bytes:
    import joblib

    buffer = io.BytesIO()
    joblib.dump(part, buffer, compress=1)
    return buffer.getvalue()


def _npy(array: NDArray[np.uint64]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _path(part: Any) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"


# --- reading ---------------------------------------------------------------------------------


def _verify(manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Hold every file against the manifest.

    Raises:
        Corrupt: a file is missing, foreign or changed; all are listed.
    """
    problems = [f"{name} is missing" for name in manifest.files if name not in files]
    problems += [f"{name} is not named in the manifest" for name in files if name not in manifest.files]
    for name, digest in manifest.files.items():
        if name in files and hashlib.sha256(files[name]).hexdigest() != digest.sha256:
            problems.append(f"{name} is not the file that was published with this version")
    if problems:
        raise Corrupt(f"version of run {manifest.run_id}: {'; '.join(sorted(problems))}: roll back to another version")


def _loaded(name: str, files: Mapping[str, bytes], allow_joblib: bool, trusted: Sequence[str]) -> Any:
    if name in files:
        return _from_skops(name, files[name], trusted)
    name = _joblib_name(name)
    data = _present(files, name)
    if not allow_joblib:
        raise ArtifactError(
            f"{name} is joblib, and loading it runs code: if you alone can write this store, set "
            "`allow_joblib = true` under [deploy]"
        )
    import joblib

    try:
        return joblib.load(io.BytesIO(data))
    except Exception as error:  # a pickle can raise anything; it is told as ours
        raise ArtifactError(f"{name} cannot be loaded ({type(error).__name__}: {error})") from error


def _from_skops(name: str, data: bytes, trusted: Sequence[str]) -> Any:
    import skops.io
    from sklearn.exceptions import InconsistentVersionWarning

    try:
        strange = untrusted(data, trusted)
        if not strange:
            with warnings.catch_warnings():  # versions are compared by check_requires
                warnings.simplefilter("ignore", InconsistentVersionWarning)
                part = skops.io.loads(data, trusted=[*ALLOWED_TYPES, *trusted])
    except ModuleNotFoundError as error:
        missing = (error.name or "a module").partition(".")[0]
        raise ArtifactError(
            f"{name} needs {missing}, which is not installed here: {_INSTALL.get(missing, f'install {missing}')}, in the "
            "version that the manifest's `requires` names"
        ) from error
    except Exception as error:  # a file of another library version can fail in any way; it is told as ours
        raise ArtifactError(
            f"{name} cannot be loaded ({type(error).__name__}: {error}): install the library versions that the "
            "manifest's `requires` names, or roll back to another version"
        ) from error
    if strange:
        raise ArtifactError(_not_allowed(name, strange))
    check_trees(part, name)
    return part


def _pipeline(preprocess: Any, model: Any) -> Any:
    from sklearn.pipeline import Pipeline

    return Pipeline([("preprocess", preprocess), ("model", model)])


def _fits(pipeline: Any, manifest: Manifest) -> None:
    width = getattr(pipeline.named_steps["preprocess"], "n_features_in_", None)
    if width is not None and width != len(manifest.contract.features):
        raise Corrupt(
            f"version of run {manifest.run_id}: the preprocessor reads {width} columns, the contract names "
            f"{len(manifest.contract.features)}: roll back to another version"
        )


def _present(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise Corrupt(f"{name} is missing from the version's files: roll back to another version")
    return files[name]
