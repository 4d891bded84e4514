"""The configuration says everything that is wrong at once, with its line and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehone.config import ACCEPT_SELECTION, Config, import_class, load_config, parse_config, section_model
from rehone.errors import ConfigError


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    return caught.value.problems


def test_every_key_has_a_default_and_a_description() -> None:
    """An empty file is a whole configuration, and no key is without its sentence."""
    assert parse_config("") == Config()
    for section in Config().as_json():
        for name, key in section_model(section).model_fields.items():
            assert key.description, f"{section}.{name} has no description"


def test_all_problems_are_listed_at_once_with_their_lines() -> None:
    """Four mistakes in two sections give four lines, in the order of the file."""
    found = problems('[data]\nlable = "x"\nmin_rows = 0\n\n[gate]\nmin_recall = 2\npsi_warn = 0.1\n')
    assert [p.split(":")[0] for p in found] == ["line 2", "line 3", "line 6", "line 7"]
    assert found[0] == "line 2: data.lable: unknown key: did you mean 'label'?"
    assert found[1] == "line 3: data.min_rows: input should be greater than or equal to 1 (is 0)"
    assert found[3] == "line 7: gate.psi_warn: unknown key: it belongs in [trigger]"


def test_an_unknown_section_is_refused_with_the_nearest_name() -> None:
    """[trane] is answered with [train]."""
    assert problems("[trane]\nfolds = 3\n") == ("line 1: trane: unknown key: did you mean 'train'?",)


def test_an_unknown_estimator_is_refused_with_the_nearest_name() -> None:
    """A misspelt built-in is answered with its name."""
    (said,) = problems('[train]\ncandidates = ["lightgmb"]\n')
    assert said.startswith("line 2: ")
    assert "did you mean 'lightgbm'?" in said


def test_an_estimator_that_is_near_to_none_is_one_problem_with_the_whole_choice() -> None:
    """A name of another library is told the built-ins and how to name a class; the empty list is no second problem."""
    (said,) = problems('[train]\ncandidates = ["tabnet"]\n')
    assert said == (
        "line 2: train.candidates.class: no estimator 'tabnet': use one of hist_gradient_boosting, lightgbm, "
        "gradient_boosting, random_forest, logistic_regression, xgboost, xgboost_external, xgboost_dask, xgboost_spark "
        "or an import path such as sklearn.ensemble.ExtraTreesClassifier (is 'tabnet')"
    )


def test_a_list_that_is_really_empty_is_refused() -> None:
    """No candidate at all is a problem of its own."""
    (said,) = problems("[train]\ncandidates = []\n")
    assert said == "line 2: train.candidates: tuple should have at least 1 item after validation, not 0 (is [])"


def test_text_that_is_not_toml_is_refused_with_its_line() -> None:
    """A broken file names the line."""
    (said,) = problems("[data\n")
    assert "not valid TOML" in said
    assert "line 1" in said


def test_a_missing_file_names_the_remedy(tmp_path: Path) -> None:
    """A folder without rehone.toml is told to run init."""
    with pytest.raises(ConfigError, match="rehone init"):
        load_config(tmp_path)


def test_choosing_rows_by_an_arrived_label_must_be_asked_for_in_words() -> None:
    """'label is not null' alone is refused; the whole sentence is taken."""
    (said,) = problems('[data]\nlabel_selection = "label is not null"\n')
    assert "selects on the outcome" in said
    taken = parse_config(f'[data]\nlabel_selection = "{ACCEPT_SELECTION}"\n')
    assert taken.data.label_selection == ACCEPT_SELECTION


def test_contradictions_are_refused() -> None:
    """Bounds the wrong way round and two sources of maturity are problems of their own."""
    assert "must be below max_label_rate" in problems("[data]\nmin_label_rate = 0.5\nmax_label_rate = 0.4\n")[0]
    assert "not both" in problems('[data]\nlabel_due_column = "due"\nlabel_delay_days = 3\n')[0]
    assert "must not be above psi_action" in problems("[trigger]\npsi_warn = 0.5\n")[0]
    assert "two candidates are named" in problems('[train]\ncandidates = ["lightgbm", "lightgbm"]\n')[0]


def test_numbers_that_are_not_finite_are_refused() -> None:
    """TOML can write nan and inf; a limit cannot be either."""
    assert len(problems("[gate]\nmin_roc_auc = nan\n\n[trigger]\nwindow_days = inf\n")) == 2


def test_the_digest_is_of_the_values_not_of_the_place() -> None:
    """The same values give the same digest in another folder; another value gives another."""
    here, there = parse_config("", root=Path("a")), parse_config("", root=Path("b"))
    assert here.sha256 == there.sha256
    assert parse_config("[project]\nseed = 8\n").sha256 != here.sha256


def test_a_class_is_imported_by_its_path() -> None:
    """A good path gives the class; a bad one says which."""
    assert import_class("sklearn.tree.DecisionTreeClassifier").__name__ == "DecisionTreeClassifier"
    with pytest.raises(ConfigError, match="no_such_module"):
        import_class("no_such_module.Thing")
    with pytest.raises(ConfigError, match="is not a class"):
        import_class("math.pi")


def test_predictions_become_evidence_only_where_labels_can_join_them() -> None:
    data = '[data]\nlabel_due_column = "due"\nentity_column = "card"\n'
    with pytest.raises(ConfigError) as caught:
        parse_config(data + '[predictions]\ntrain_on = "served"\n')
    (problem,) = caught.value.problems
    assert problem == (
        'predictions.train_on = "served" needs data.id_column: labels join predictions by it; name the column that '
        "both have; and data.label_delay_days instead of data.label_due_column, which no prediction has; and no "
        "data.entity_column, which the log does not have: leave it out, or train on the data"
    )
    good = parse_config('[data]\nid_column = "id"\n[predictions]\nevidence = "served"\n')
    assert good.predictions.evidence == "served"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("trackers.mlflow_uri", '[trackers]\nmlflow_uri = "https://me:hunter2@mlflow.example"\n'),
        ("storage.endpoint", '[storage]\nendpoint = "https://me:hunter2@minio:9000"\n'),
        ("project.store", '[project]\nstore = "s3://me:hunter2@bucket/x"\n'),
        ("data.source", '[data]\nsource = "s3://me:hunter2@bucket/x.parquet"\n'),
        ("deploy.health_url", '[deploy]\nhealth_url = "https://me:hunter2@host/health"\n'),
        ("train.backend_address", '[train]\nbackend = "ray"\nbackend_address = "ray://me:hunter2@host:1"\n'),
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(key: str, text: str) -> None:
    """Every run record and every tracker is given all keys: no secret may be one of them."""
    (said,) = problems(text)
    assert said.startswith(f"{key}: the address holds a password")
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("store", "s3a://bucket/store", "names no folder and no object store: begin it with s3://, gs://, az://"),
        ("store", "S3://bucket/store", "names no folder and no object store: begin it with s3://, gs://, az://"),
        ("runs", "memory://bucket", "names no folder and no object store: begin it with s3://, gs://, az://"),
        ("runs", "s3:///runs/..", "holds a part . or .."),
        ("store", "s3://", "names no bucket: write one, as in s3://bucket/folder"),
    ],
)
def test_an_address_that_would_be_a_folder_of_that_name_here_is_refused(key: str, text: str, said: str) -> None:
    assert any(
        said in problem and f"project.{key} {text!r}" in problem
        for problem in problems(f'[project]\n{key} = "{text}"\n')
    )


def test_an_endpoint_without_a_scheme_is_refused_before_anything_is_asked() -> None:
    (said,) = problems('[storage]\nendpoint = "minio.internal:9000"\n')
    assert "endpoint 'minio.internal:9000' is no address: begin it with https://" in said
    parse_config('[storage]\nendpoint = "http://127.0.0.1:9000"\n')


def test_a_user_or_a_port_in_an_address_is_no_password() -> None:
    """What only looks like one is let through."""
    parse_config('[trackers]\nmlflow_uri = "http://me@host:5000/a:b@c"\n')
