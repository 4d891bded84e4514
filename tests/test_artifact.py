"""What a stored model is: rows in by name, the same probabilities out, nothing untrusted ever built."""

from __future__ import annotations

import hashlib
import math
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline

from rehone import artifact
from rehone.artifact import Golden, Predictor
from rehone.config import Candidate
from rehone.errors import ArtifactError, ContractError, Corrupt
from rehone.records import CheckStatus, Contract, Feature, FeatureKind, FileDigest, Manifest, Profile, Window
from rehone.train import pipeline_of

DAY = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
BIKES = Path(__file__).parent.parent / "examples/bike_high_demand/bike_high_demand.parquet"
CONTRACT = Contract(
    features=(
        Feature("amount", FeatureKind.NUMERIC),
        Feature("card", FeatureKind.BOOLEAN),
        Feature("country", FeatureKind.CATEGORICAL, ("DE", "FR")),
    ),
    label="label",
)


@pytest.fixture(scope="module")
def bikes() -> pl.DataFrame:
    """Real rows: categories, integers, floats with nulls."""
    return pl.read_parquet(BIKES).gather_every(6).with_columns(busy=pl.col("holiday") == "Yes")


def bike_contract(rows: pl.DataFrame) -> Contract:
    names = [name for name in rows.columns if name not in ("label", "event_date")]
    return artifact.learn_contract(rows, names, label="label", categorical=["hr"])


def trained(rows: pl.DataFrame, estimator: str = "hist_gradient_boosting", **params: Any) -> Predictor:
    contract = bike_contract(rows)
    pipeline = pipeline_of(Candidate(estimator=estimator, params=params), contract, 7)
    pipeline.fit(artifact.encode(rows, contract), rows["label"].to_numpy())
    return Predictor(contract=contract, pipeline=pipeline, threshold=0.25)


@pytest.fixture(scope="module")
def bike_model(bikes: pl.DataFrame) -> Predictor:
    return trained(bikes, max_iter=20)


def manifest_of(predictor: Predictor, files: dict[str, bytes]) -> Manifest:
    return Manifest(
        project="p",
        run_id="r1",
        created_at=DAY.start,
        as_of=DAY.start,
        estimator="e",
        params={},
        window_policy="trailing",
        contract=predictor.contract,
        threshold=predictor.threshold,
        train_window=DAY,
        train_end=DAY.start,
        train_rows=1,
        train_positives=1,
        data_sha256="",
        requires=artifact.requirements(),
        files={name: FileDigest(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()},
    )


def packed(predictor: Predictor, **options: Any) -> tuple[Manifest, dict[str, bytes]]:
    profile = Profile(window=DAY, rows=1, positives=0, features=())
    files = artifact.pack(predictor, profile, Golden((), ()), **options)
    return manifest_of(predictor, files), files


# --- the contract -------------------------------------------------------------------------------


def test_a_contract_names_each_column_with_its_kind_and_sorted_categories() -> None:
    rows = pl.DataFrame(
        {"x": [1.5], "n": [3], "flag": [True], "word": ["b"], "code": [7], "empty": [None], "label": [1]}
    )
    learned = artifact.learn_contract(
        rows, ["x", "n", "flag", "word", "code", "empty"], label="label", categorical=["code"]
    )
    assert [f.kind.value for f in learned.features] == [
        "numeric",
        "numeric",
        "boolean",
        "categorical",
        "categorical",
        "numeric",
    ]
    assert learned.features[4].categories == ("7",)
    assert learned.label == "label"


def test_a_contract_refuses_columns_that_no_model_can_read_all_at_once() -> None:
    rows = pl.DataFrame({"at": [DAY.start], "list": [[1]]})
    with pytest.raises(ContractError) as caught:
        artifact.learn_contract(rows, ["at", "list", "gone"], label="label")
    assert "the rows do not fit the model: 3 problems" in str(caught.value)
    assert "'gone' is not a column: correct data.features" in str(caught.value)
    assert "'list' is List(Int64), which no model can read: add it to data.exclude" in str(caught.value)


def test_only_the_most_frequent_categories_are_kept_when_there_are_too_many() -> None:
    many = [f"v{i:05d}" for i in range(artifact.rows.MAX_CATEGORIES + 5)]
    rows = pl.DataFrame({"c": [*many, *many[5:]]})
    categories = artifact.learn_contract(rows, ["c"], label="y").features[0].categories
    assert categories == tuple(many[5:])


# --- the matrix ---------------------------------------------------------------------------------


def test_encoding_writes_categories_as_codes_and_everything_unknown_as_nan() -> None:
    rows = pl.DataFrame(
        {
            "amount": [1.5, math.inf, -math.inf, math.nan, None, 1e300],
            "card": [True, False, None, True, True, True],
            "country": ["FR", "DE", "XX", None, "FR", "FR"],
        }
    )
    nan = math.nan
    expected = [[1.5, 1, 1], [nan, 0, 0], [nan, nan, 2], [nan, 1, nan], [nan, 1, 1], [1e30, 1, 1]]
    np.testing.assert_array_equal(artifact.encode(rows, CONTRACT), np.array(expected))


def test_encoding_in_many_chunks_is_encoding_at_once(monkeypatch: pytest.MonkeyPatch, bikes: pl.DataFrame) -> None:
    contract = bike_contract(bikes)
    whole = artifact.encode(bikes, contract)
    monkeypatch.setattr(artifact.rows, "_CHUNK", 100)
    np.testing.assert_array_equal(artifact.encode(bikes, contract), whole)


@pytest.mark.parametrize(
    "rows",
    [
        pl.DataFrame({"code": [3, None, 4]}),
        pl.DataFrame({"code": [3.0, math.nan, 4.0]}),
        pl.DataFrame({"code": ["3", None, "4"]}),
        pl.DataFrame({"code": pl.Series(["3", None, "4"], dtype=pl.Categorical)}),
        pd.DataFrame({"code": [3.0, math.nan, 4.0]}),
        {"code": [3, None, 4]},
        {"code": [3.0, None, "4"]},
        [{"code": 3}, {"code": None}, {"code": 4.0}],
    ],
    ids=["int", "float", "text", "categorical", "pandas", "mapping", "mixed", "rows"],
)
def test_a_code_is_the_same_category_however_it_is_written(rows: Any) -> None:
    contract = Contract(features=(Feature("code", FeatureKind.CATEGORICAL, ("3",)),), label="y")
    matrix = artifact.encode(artifact.frame_of(rows, contract), contract)
    np.testing.assert_array_equal(matrix, [[0], [math.nan], [1]])


def test_the_same_rows_give_the_same_probabilities_in_every_form(bikes: pl.DataFrame, bike_model: Predictor) -> None:
    rows = bikes.head(300)
    expected = bike_model.predict_proba(rows)
    columns = rows.to_dict(as_series=False)
    for form in (rows.to_dicts(), columns, pd.DataFrame(columns), pd.DataFrame(columns).convert_dtypes()):
        np.testing.assert_array_equal(bike_model.predict_proba(form), expected)


def test_no_rows_give_no_probabilities(bike_model: Predictor, bikes: pl.DataFrame) -> None:
    assert bike_model.predict_proba([]).shape == (0,)
    assert bike_model.predict_proba(bikes.head(0)).shape == (0,)


def test_a_decision_is_made_from_the_threshold_on(bike_model: Predictor, bikes: pl.DataFrame) -> None:
    scores = bike_model.predict_proba(bikes)
    at = replace(bike_model, threshold=float(scores[5]))
    assert at.decide(bikes)[5]
    np.testing.assert_array_equal(at.decide(bikes), scores >= scores[5])


# --- rows that do not fit -------------------------------------------------------------------------


def test_every_problem_of_a_frame_is_listed_at_once() -> None:
    with pytest.raises(ContractError) as caught:
        artifact.frame_of(pl.DataFrame({"amount": ["a"], "card": [2], "other": [1]}), CONTRACT)
    assert str(caught.value).splitlines() == [
        "the rows do not fit the model: 3 problems",
        "  column 'amount' is String (for example 'a'), the model was trained on numbers: convert it",
        "  column 'card' holds 2, the model was trained on true or false: give true, false or null",
        "  column 'country' is missing: give it, with null where it is not known",
    ]


def test_every_problem_of_a_list_of_rows_is_listed_at_once() -> None:
    rows = [
        {"amount": 1, "card": True, "country": "DE"},
        {"amount": "x", "card": None, "country": DAY.start},
        {"amount": 1},
        {"amount": 1, "country": "FR"},
    ]
    with pytest.raises(ContractError) as caught:
        artifact.frame_of(rows, CONTRACT)
    assert str(caught.value).splitlines() == [
        "the rows do not fit the model: 4 problems",
        "  'card' is missing in 2 rows, the first is row 2: give it, with null where it is not known",
        "  'country' is missing in row 2: give it, with null where it is not known",
        "  column 'amount' holds 'x' in row 1, the model was trained on numbers: convert it",
        f"  column 'country' holds {DAY.start!r} in row 1, the model was trained on categories (text or whole numbers): convert it",
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"amount": [1, 2], "card": [True], "country": ["DE", "FR"]}, "columns have unequal lengths"),
        ({"amount": 3, "card": [True], "country": ["DE"]}, "column 'amount' is 3: give a sequence"),
        ([1], "row 0 is int: give each row as a mapping of names"),
        ("text", "rows are str: give a Polars or pandas frame"),
        (None, "rows are NoneType: give a Polars or pandas frame"),
        ({"amount": [10**400], "card": [True], "country": ["DE"]}, "column 'amount' holds 1000"),
        (pd.DataFrame({"amount": ["z"], "card": [True], "country": ["DE"]}), "column 'amount' holds 'z' in row 0"),
    ],
    ids=["lengths", "scalar", "list of numbers", "text", "none", "huge", "pandas text"],
)
def test_what_is_no_table_of_rows_is_refused(rows: Any, said: str) -> None:
    with pytest.raises(ContractError) as caught:
        artifact.frame_of(rows, CONTRACT)
    assert said in str(caught.value)


# --- storing and loading --------------------------------------------------------------------------

SMALL = {
    "hist_gradient_boosting": {"max_iter": 10},
    "lightgbm": {"n_estimators": 10},
    "gradient_boosting": {"n_estimators": 5},
    "random_forest": {"n_estimators": 5},
    "logistic_regression": {},
}


@pytest.mark.parametrize("estimator", SMALL)
def test_a_built_in_model_gives_the_very_same_numbers_after_storing_and_loading(
    estimator: str, bikes: pl.DataFrame
) -> None:
    predictor = trained(bikes, estimator, **SMALL[estimator])
    manifest, files = packed(predictor)
    loaded = artifact.unpack(manifest, files, version="v1")
    assert set(files) == {"preprocessor.skops", "model.skops", "profile.json", "golden.json"}
    np.testing.assert_array_equal(loaded.predict_proba(bikes), predictor.predict_proba(bikes))
    assert (loaded.version, loaded.threshold, loaded.contract) == ("v1", 0.25, predictor.contract)


@pytest.mark.parametrize(
    "path",
    [
        "sklearn.ensemble.ExtraTreesClassifier",
        "sklearn.ensemble.AdaBoostClassifier",
        "sklearn.ensemble.BaggingClassifier",
        "sklearn.calibration.CalibratedClassifierCV",
        "sklearn.linear_model.LogisticRegressionCV",
        "sklearn.tree.DecisionTreeClassifier",
        "sklearn.naive_bayes.GaussianNB",
        "sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
    ],
)
def test_common_classifiers_of_scikit_learn_store_without_further_trust(path: str, bikes: pl.DataFrame) -> None:
    params: dict[str, Any] = {"n_estimators": 5} if "ensemble" in path else {}
    if path.endswith("LogisticRegressionCV"):
        params = {"Cs": 2, "cv": 2, "use_legacy_attributes": False, "l1_ratios": [0.0], "scoring": "neg_log_loss"}
    predictor = trained(bikes.head(400).with_columns(label=(pl.col("hr") > 11).cast(pl.Int8)), path, **params)
    loaded = artifact.unpack(*packed(predictor))
    np.testing.assert_array_equal(loaded.predict_proba(bikes), predictor.predict_proba(bikes))


def test_a_loaded_model_may_be_asked_by_many_threads_at_once(bike_model: Predictor, bikes: pl.DataFrame) -> None:
    loaded = artifact.unpack(*packed(bike_model))
    expected = bike_model.predict_proba(bikes)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: loaded.predict_proba(bikes), range(16)):
            np.testing.assert_array_equal(found, expected)


def test_the_preprocessor_of_another_version_is_refused(bikes: pl.DataFrame, bike_model: Predictor) -> None:
    manifest, files = packed(bike_model)
    _, others = packed(trained(bikes.head(1000), max_iter=3))
    with pytest.raises(Corrupt) as caught:
        artifact.unpack(manifest, {**files, "preprocessor.skops": others["preprocessor.skops"]})
    assert "preprocessor.skops is not the file that was published with this version" in str(caught.value)


def test_a_missing_and_a_foreign_file_are_both_named(bike_model: Predictor) -> None:
    manifest, files = packed(bike_model)
    del files["profile.json"]
    with pytest.raises(Corrupt) as caught:
        artifact.unpack(manifest, {**files, "extra.txt": b"x"})
    assert "extra.txt is not named in the manifest; profile.json is missing" in str(caught.value)


def test_a_changed_byte_is_found_before_anything_is_built(bike_model: Predictor) -> None:
    manifest, files = packed(bike_model)
    model = bytearray(files["model.skops"])
    model[100] ^= 1
    with pytest.raises(Corrupt, match=r"model.skops is not the file that was published"):
        artifact.unpack(manifest, {**files, "model.skops": bytes(model)})


class Touchy(GaussianNB):
    """A classifier of a user's own, which skops does not know."""

    built = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).built += 1
        super().__setstate__(state)


def of_own_class(bikes: pl.DataFrame) -> Predictor:
    predictor = trained(bikes, "sklearn.naive_bayes.GaussianNB")
    model = Touchy().fit(
        predictor.pipeline[0].transform(artifact.encode(bikes, predictor.contract)), bikes["label"].to_numpy()
    )
    return replace(predictor, pipeline=Pipeline([("preprocess", predictor.pipeline[0]), ("model", model)]))


def test_an_unknown_type_is_named_with_the_line_that_would_allow_it(bikes: pl.DataFrame) -> None:
    with pytest.raises(ArtifactError) as caught:
        packed(of_own_class(bikes))
    assert f'`trusted_types = ["{Touchy.__module__}.Touchy"]` under [deploy]' in str(caught.value)


def test_a_named_type_is_stored_and_loaded_with_skops(bikes: pl.DataFrame) -> None:
    predictor = of_own_class(bikes)
    trusted = [f"{Touchy.__module__}.Touchy"]
    manifest, files = packed(predictor, trusted=trusted)
    loaded = artifact.unpack(manifest, files, trusted=trusted)
    np.testing.assert_array_equal(loaded.predict_proba(bikes), predictor.predict_proba(bikes))


def test_an_untrusted_type_is_never_built(bikes: pl.DataFrame) -> None:
    manifest, files = packed(of_own_class(bikes), trusted=[f"{Touchy.__module__}.Touchy"])
    Touchy.built = 0
    with pytest.raises(ArtifactError, match="not on the allow-list"):
        artifact.unpack(manifest, files)
    assert Touchy.built == 0


def test_joblib_is_written_and_read_only_when_the_operator_allows_it(bikes: pl.DataFrame) -> None:
    predictor = of_own_class(bikes)
    manifest, files = packed(predictor, allow_joblib=True)
    assert {"preprocessor.skops", "model.joblib"} <= set(files)
    with pytest.raises(ArtifactError) as caught:
        artifact.unpack(manifest, files)
    assert "set `allow_joblib = true` under [deploy]" in str(caught.value)
    loaded = artifact.unpack(manifest, files, allow_joblib=True)
    np.testing.assert_array_equal(loaded.predict_proba(bikes), predictor.predict_proba(bikes))


def with_nodes_changed(files: dict[str, bytes], field: str) -> dict[str, bytes]:
    """Point one node of the first tree far outside, as a forged file would."""
    source = zipfile.ZipFile(BytesIO(files["model.skops"]))
    forged, done = BytesIO(), False
    with zipfile.ZipFile(forged, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith(".npy") and not done:
                array = np.load(BytesIO(data), allow_pickle=False)
                if array.dtype.names and field in array.dtype.names:
                    array[field][0] = 10_000
                    changed = BytesIO()
                    np.save(changed, array)
                    data, done = changed.getvalue(), True
            target.writestr(name, data)
    assert done
    return {**files, "model.skops": forged.getvalue()}


@pytest.mark.parametrize(
    ("estimator", "field"),
    [
        ("hist_gradient_boosting", "left"),
        ("hist_gradient_boosting", "feature_idx"),
        ("random_forest", "left_child"),
        ("gradient_boosting", "feature"),
    ],
)
def test_a_forged_tree_is_refused_before_it_is_followed(estimator: str, field: str, bikes: pl.DataFrame) -> None:
    predictor = trained(bikes, estimator, **SMALL[estimator])
    files = with_nodes_changed(packed(predictor)[1], field)
    with pytest.raises(Corrupt, match=r"model.skops holds a tree"):
        artifact.unpack(manifest_of(predictor, files), files)


def test_a_file_that_is_no_model_is_an_artifact_error(bike_model: Predictor) -> None:
    files = {**packed(bike_model)[1], "model.skops": b"not a zip"}
    with pytest.raises(ArtifactError, match=r"model.skops cannot be loaded \(BadZipFile"):
        artifact.unpack(manifest_of(bike_model, files), files)


def test_another_library_version_is_a_warning_that_names_both(bike_model: Predictor) -> None:
    manifest, files = packed(bike_model)
    older = replace(manifest, requires={**manifest.requires, "scikit-learn": "1.2.0"})
    artifact.unpack(older, files)
    found = {check.subject: check for check in artifact.check_requires(older)}
    assert found["numpy"].status is CheckStatus.OK
    assert found["scikit-learn"].status is CheckStatus.WARN
    assert found["scikit-learn"].remedy == "install scikit-learn==1.2.0, unless the golden rows are reproduced"


# --- golden rows ----------------------------------------------------------------------------------


def test_golden_rows_are_real_rows_and_hard_ones_and_are_reproduced_exactly(
    bikes: pl.DataFrame, bike_model: Predictor
) -> None:
    golden = artifact.make_golden(bike_model, bikes, n=16, seed=3)
    assert len(golden.rows) == len(golden.probabilities) == 16
    assert sum(any(v is None for v in row.values()) for row in golden.rows) > 1
    assert golden.rows[-2]["season"] == "a value never seen in training"
    assert set(golden.rows[-1].values()) == {None}
    files = artifact.pack(bike_model, Profile(window=DAY, rows=1, positives=0, features=()), golden)
    loaded = artifact.unpack(manifest_of(bike_model, files), files)
    check = artifact.check_golden(loaded, artifact.read_golden(files), 0)
    assert (check.status, check.value, check.n) == (CheckStatus.OK, 0.0, 16)
    assert artifact.make_golden(bike_model, bikes, n=16, seed=3) == golden


def test_another_model_does_not_reproduce_the_golden_rows(bikes: pl.DataFrame, bike_model: Predictor) -> None:
    golden = artifact.make_golden(bike_model, bikes, seed=3)
    check = artifact.check_golden(trained(bikes, max_iter=19), golden, 1e-9)
    assert check.status is CheckStatus.ACT
    assert check.value is not None
    assert check.value > 1e-6


def test_the_tolerance_itself_is_still_the_same(bikes: pl.DataFrame, bike_model: Predictor) -> None:
    golden = artifact.make_golden(bike_model, bikes, seed=3)
    moved = Golden(golden.rows, tuple(p + 0.125 for p in golden.probabilities))
    worst = artifact.check_golden(bike_model, moved, 1.0).value
    assert worst is not None
    assert artifact.check_golden(bike_model, moved, worst).status is CheckStatus.OK
    assert artifact.check_golden(bike_model, moved, math.nextafter(worst, 0)).status is CheckStatus.ACT


# --- fingerprints -----------------------------------------------------------------------------------


def test_fingerprints_never_change() -> None:
    rows = pl.DataFrame(
        {"amount": [1.5, None, -0.0], "card": [True, None, False], "country": ["FR", "XX", None], "label": [1, 0, 0]}
    )
    found = artifact.fingerprints(rows, CONTRACT, label="label")
    assert found.dtype == np.uint64
    assert [f"{mark:016x}" for mark in found] == FIXED


FIXED = ["3dc8d3a9dd30d06a", "3f1da2781e7ff81d", "1121c008b688f800"]


def test_fingerprints_do_not_depend_on_column_types_order_or_known_categories() -> None:
    rows = pl.DataFrame({"a": [1, 2], "b": ["x", "y"], "label": [1, 0]})
    one = artifact.learn_contract(rows, ["a", "b"], label="label")
    other = artifact.learn_contract(rows.head(1), ["b", "a"], label="label")
    retyped = rows.with_columns(pl.col("a").cast(pl.Float32), pl.col("b").cast(pl.Categorical))
    np.testing.assert_array_equal(
        artifact.fingerprints(rows, one, label="label"), artifact.fingerprints(retyped, other, label="label")
    )


def test_fingerprints_tell_real_rows_apart_and_find_the_same_row_again(bikes: pl.DataFrame) -> None:
    contract = bike_contract(bikes)
    marks = artifact.fingerprints(bikes, contract, label="label")
    distinct = bikes.select(*contract.names, "label").n_unique()
    assert len(np.unique(marks)) == distinct
    np.testing.assert_array_equal(artifact.fingerprints(bikes[7:9], contract, label="label"), marks[7:9])


def test_neighbouring_large_ids_have_fingerprints_of_their_own() -> None:
    ids = [2**62 + i for i in range(100)]
    for values in (ids, [str(i) for i in ids], pl.Series(ids, dtype=pl.UInt64)):
        rows = pl.DataFrame({"id": values})
        assert len(np.unique(artifact.fingerprints(rows, CONTRACT, label="label", id_column="id"))) == 100


def test_fingerprints_are_kept_sorted_beside_the_model(bike_model: Predictor) -> None:
    marks = np.array([5, 3, 3], dtype=np.uint64)
    manifest, files = packed(bike_model, fingerprints=marks)
    artifact.unpack(manifest, files)
    kept = artifact.read_fingerprints(files)
    assert kept is not None
    assert kept.tolist() == [3, 5]
    del files["fingerprints.npy"]
    assert artifact.read_fingerprints(files) is None
    with pytest.raises(Corrupt, match=r"fingerprints.npy cannot be read"):
        artifact.read_fingerprints({"fingerprints.npy": b"\x80\x04K\x01."})
