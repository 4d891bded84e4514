"""`rehone init` looks at the data and writes a commented `rehone.toml` that says what it saw."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import rehone.cli.init as door
from rehone.cli.init import Wishes, Written
from rehone.cli.template import EXAMPLES, Setting, sections, write
from rehone.config import Candidate, Config, load_config, parse_config, section_model
from rehone.errors import RehoneError

EXAMPLE = Path(__file__).parents[1] / "examples"
REHONE = str(Path(sys.executable).with_name("rehone"))
COMPANIONS = {
    "alerts.webhook_secret_file": ("alerts.webhook",),
    "metrics.pushgateway_user": ("metrics.pushgateway", "metrics.pushgateway_password_file"),
    "metrics.pushgateway_password_file": ("metrics.pushgateway", "metrics.pushgateway_user"),
}
"""Keys that are taken only beside others."""
DAYS = 120
PER_DAY = 20


def _stream(days: int = DAYS, per_day: int = PER_DAY, *, rate: float = 0.2, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = days * per_day
    start = datetime(2026, 1, 1, tzinfo=UTC)
    amount = rng.lognormal(3, 1, n)
    score = (amount > np.quantile(amount, 0.7)) * 0.15 + rate * 0.7
    return pl.DataFrame(
        {
            "event_time": [start + timedelta(minutes=1440 / per_day * i) for i in range(n)],
            "amount": amount,
            "country": rng.choice(["FR", "DE", "ES"], n),
            "weekend": rng.random(n) < 0.3,
            "label": (rng.random(n) < score).astype(np.int8),
        }
    )


def _by_day(frame: pl.DataFrame, folder: Path, *, suffix: str = "parquet") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for (day,), rows in frame.group_by(pl.col("event_time").dt.date(), maintain_order=True):
        path = folder / f"{day}.{suffix}"
        rows.write_csv(path) if suffix == "csv" else rows.write_parquet(path)


def _init(frame: pl.DataFrame, folder: Path, **wishes: str) -> Written:
    (folder / "data").mkdir()
    frame.write_parquet(folder / "data" / "rows.parquet")
    return door.init(folder, Wishes(**wishes))  # type: ignore[arg-type]


def _excluded(written: Written) -> dict[str, str]:
    setting = written.settings.get("data.exclude")
    return dict(setting.each) if setting else {}


# --- the file -----------------------------------------------------------------------------


@pytest.mark.parametrize("section", sections())
def test_every_key_of_the_configuration_stands_in_the_file_below_its_description(tmp_path: Path, section: str) -> None:
    _init(_stream(), tmp_path)
    text = (tmp_path / "rehone.toml").read_text()
    part = text.split(f"\n[{section}]\n")[1].split("\n[")[0]
    for name, field in section_model(section).model_fields.items():
        before, found, _ = (
            part.partition(f"\n# {name} = ") if f"\n# {name} = " in part else part.partition(f"\n{name} = ")
        )
        assert found, f"{section}.{name}"
        assert (field.description or "").split()[0] in before.rsplit("\n\n", 1)[-1]


def test_loading_the_file_gives_the_defaults_and_what_was_inferred(tmp_path: Path) -> None:
    written = _init(_stream().with_columns(batch=pl.lit(3)), tmp_path)
    expected = {name: {} for name in sections()}
    for key, setting in written.settings.items():
        section, _, name = key.partition(".")
        expected[section][name] = setting.value
    assert load_config(tmp_path) == Config(**expected, root=tmp_path)  # type: ignore[arg-type]


def test_taking_away_the_comment_signs_leaves_every_default_as_it_was() -> None:
    lines = [
        line.removeprefix("# ") if re.match(r"# [a-z0-9_]+ = ", line) and not line.endswith("# not set") else line
        for line in write({}).splitlines()
    ]
    assert parse_config("\n".join(lines)) == Config()


def test_every_example_of_a_key_without_a_default_is_a_value_that_the_key_takes() -> None:
    unset = {
        f"{section}.{name}"
        for section in sections()
        for name, field in section_model(section).model_fields.items()
        if field.get_default(call_default_factory=True) is None
    }
    assert set(EXAMPLES) == unset
    for key, value in EXAMPLES.items():
        section, _, name = key.partition(".")
        settings = {key: Setting(key=key, value=value, why="an example")}
        if key.endswith("query"):  # SQL is asked of a database
            where = key.replace("labels_query", "labels").replace("query", "source")
            settings[where] = Setting(key=where, value="postgresql://reader@127.0.0.1/shop", why="an example")
            settings["data.time_column"] = Setting(key="data.time_column", value="at", why="an example")
        if key == "train.backend_address":
            settings["train.backend"] = Setting(key="train.backend", value="dask", why="an example")
        if key == "data.label_completeness":
            when = "data.label_time_column"
            settings[when] = Setting(key=when, value="known_at", why="an example")
        for where in COMPANIONS.get(key, ()):
            settings[where] = Setting(key=where, value=EXAMPLES[where], why="an example")
        text = write(settings)
        found = getattr(getattr(parse_config(text), section), name)
        assert (list(found) if isinstance(found, tuple) else found) == value


def test_a_name_with_quotes_backslashes_and_control_characters_comes_back_as_it_was() -> None:
    odd = 'a "b" \\c\td\x7fé\n# [x]'
    text = write({"data.label": Setting(key="data.label", value=odd, why=odd)})
    assert parse_config(text).data.label == odd


def test_a_candidate_with_parameters_is_written_as_a_table() -> None:
    made = Candidate(name="trees", estimator="sklearn.ensemble.ExtraTreesClassifier", params={"n_estimators": 50})
    text = write({"train.candidates": Setting(key="train.candidates", value=(made,), why="asked for")})
    assert parse_config(text).train.candidates == (made,)


def test_an_existing_file_is_left_alone_unless_forced(tmp_path: Path) -> None:
    _by_day(_stream(), tmp_path)
    file = tmp_path / "rehone.toml"
    file.write_text("# mine\n")
    with pytest.raises(RehoneError) as caught:
        door.init(tmp_path, Wishes())
    assert str(caught.value) == f"{file} is already there: edit it, or replace it with `rehone init --force`"
    assert file.read_text() == "# mine\n"
    door.init(tmp_path, Wishes(force=True))
    assert load_config(tmp_path).data.label == "label"


# --- where the data are -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "suffix", "source"),
    [
        ("data", "parquet", "data/*.parquet"),
        (".", "parquet", "*.parquet"),
        ("data", "csv", "data/*.csv"),
        ("data/2026", "parquet", "data/**/*.parquet"),
        ("feed/cards", "parquet", "**/*.parquet"),
    ],
)
def test_the_source_is_the_glob_under_which_the_files_were_found(
    tmp_path: Path, place: str, suffix: str, source: str
) -> None:
    _by_day(_stream(), tmp_path / place, suffix=suffix)
    written = door.init(tmp_path, Wishes())
    assert written.settings["data.source"].value == source
    assert written.inferred.rows == DAYS * PER_DAY
    assert written.settings["data.time_column"].value == "event_time"


def test_hive_folders_give_the_time_when_no_column_does(tmp_path: Path) -> None:
    frame = _stream(60)
    for (day,), rows in frame.group_by(pl.col("event_time").dt.date(), maintain_order=True):
        folder = tmp_path / "data" / f"day={day}"
        folder.mkdir(parents=True)
        rows.drop("event_time").write_parquet(folder / "part-0.parquet")
    written = door.init(tmp_path, Wishes())
    assert written.settings["data.source"].value == "data/**/*.parquet"
    assert "data.time_column" not in written.settings
    assert (written.inferred.first, written.inferred.last) == (date(2026, 1, 1), date(2026, 3, 1))
    assert written.inferred.features == ("amount", "country", "weekend")


def test_a_single_file_without_a_date_is_named(tmp_path: Path) -> None:
    _stream().write_parquet(tmp_path / "history.parquet")
    assert door.init(tmp_path, Wishes()).settings["data.source"].value == "history.parquet"


def test_a_folder_without_data_is_refused_with_where_was_looked(tmp_path: Path) -> None:
    with pytest.raises(RehoneError) as caught:
        door.init(tmp_path, Wishes())
    assert str(caught.value) == (
        f"no readable Parquet or CSV file in {tmp_path}, in {tmp_path / 'data'} or below: "
        "name the folder that holds the data, or put the files there"
    )


def test_a_truncated_file_is_noted_and_left_out(tmp_path: Path) -> None:
    _by_day(_stream(), tmp_path / "data")
    broken = tmp_path / "data" / "2026-02-01.parquet"
    broken.write_bytes(broken.read_bytes()[:200])
    said = door.init(tmp_path, Wishes()).inferred
    assert len(said.notes) == 1
    assert said.notes[0].startswith("data/2026-02-01.parquet cannot be read as parquet (200 bytes; ")
    assert said.rows == (DAYS - 1) * PER_DAY


def test_a_file_whose_rows_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("event_time,label\n2026-01-01,0\n2026-01-02\n2026-01-03,1,2,3\n")
    with pytest.raises(RehoneError) as caught:
        door.init(tmp_path, Wishes())
    assert str(caught.value).startswith(
        "a.csv cannot be read as csv (58 bytes; found more fields than defined in 'Schema')"
    )


def test_files_without_rows_are_refused(tmp_path: Path) -> None:
    _stream().clear().write_parquet(tmp_path / "a.parquet")
    with pytest.raises(RehoneError) as caught:
        door.init(tmp_path, Wishes())
    assert str(caught.value) == "1 file of a.parquet with 0 rows in all, need at least 1: add data"


def test_files_with_other_columns_are_noted_and_left_out(tmp_path: Path) -> None:
    _by_day(_stream(), tmp_path / "data")
    pl.DataFrame({"code": ["FR"], "name": ["France"]}).write_parquet(tmp_path / "data" / "countries.parquet")
    assert door.init(tmp_path, Wishes()).inferred.notes == [
        (
            "1 of 121 files have other columns than the rest, the first is data/countries.parquet: "
            "move them away, or name the files that are meant in data.source."
        )
    ]


# --- which column is the label, which the time ----------------------------------------------


def _flags(*names: str) -> pl.DataFrame:
    frame = _stream().drop("label", "weekend")
    rng = np.random.default_rng(3)
    return frame.with_columns(pl.Series(name, (rng.random(frame.height) < 0.2).astype(int)) for name in names)


@pytest.mark.parametrize(
    ("flags", "label"),
    [
        (("label", "is_fraud"), "label"),
        (("is_weekend", "is_fraud"), "is_fraud"),
        (("holiday", "churned"), "churned"),
        (("holiday", "converted_flag"), "converted_flag"),
        (("anything",), "anything"),
    ],
)
def test_the_label_is_the_flag_named_like_one_or_the_only_flag(
    tmp_path: Path, flags: tuple[str, ...], label: str
) -> None:
    assert _init(_flags(*flags), tmp_path).settings["data.label"].value == label


def test_two_flags_that_could_be_the_label_are_listed_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(RehoneError) as caught:
        _init(_flags("holiday", "promoted"), tmp_path)
    assert str(caught.value) == (
        "2 columns could be the label (holiday, promoted): say which, as in `rehone init --label holiday`"
    )
    assert not (tmp_path / "rehone.toml").exists()


def test_whoever_can_be_asked_is_asked_and_the_answer_is_kept(tmp_path: Path) -> None:
    _by_day(_flags("holiday", "promoted"), tmp_path)
    asked = []

    def ask(question: str, choices: tuple[str, ...]) -> str:
        asked.append((question, choices))
        return "promoted"

    written = door.init(tmp_path, Wishes(), ask=ask)
    assert asked == [("Which column is to be predicted?", ("holiday", "promoted"))]
    assert written.settings["data.label"] == Setting(key="data.label", value="promoted", why="chosen when asked")


def test_a_label_that_is_not_there_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(RehoneError) as caught:
        _init(_stream(), tmp_path, label="lable")
    assert str(caught.value) == "--label lable: there is no such column: did you mean 'label'?"


def test_a_label_of_texts_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    frame = (
        _stream()
        .drop("weekend")
        .with_columns(label=pl.when(pl.col("label") == 1).then(pl.lit("yes")).otherwise(pl.lit("no")))
    )
    with pytest.raises(RehoneError) as caught:
        _init(frame, tmp_path, label="label")
    assert str(caught.value) == "--label label: it holds 'no', 'yes', a label holds 0 and 1: convert it in the data"
    with pytest.raises(RehoneError) as caught:
        door.init(tmp_path, Wishes())
    assert str(caught.value) == (
        "no column of data/rows.parquet holds 0 and 1, as a label does (label holds 'no', 'yes'): "
        "convert the one that is meant to 0 and 1"
    )


def test_of_two_times_the_event_is_taken_and_a_due_date_gets_its_role(tmp_path: Path) -> None:
    frame = _stream().with_columns(
        label_due=pl.col("event_time") + pl.duration(days=14), updated_at=pl.col("event_time") + pl.duration(days=1)
    )
    written = _init(frame, tmp_path)
    assert written.settings["data.time_column"].value == "event_time"
    assert written.settings["data.label_due_column"].value == "label_due"
    assert _excluded(written) == {"updated_at": "a time, not an amount"}
    assert "data.label_delay_days" not in written.settings


def test_the_time_at_which_a_label_became_known_gets_its_role_unless_it_is_mostly_empty(tmp_path: Path) -> None:
    known = pl.col("event_time") + pl.duration(days=2)
    written = _init(_stream().with_columns(label_known_at=known), tmp_path)
    assert written.settings["data.label_time_column"].value == "label_known_at"
    assert written.settings["data.label_completeness"].value == 0.95
    assert "nothing in the data says how long" not in (tmp_path / "rehone.toml").read_text()
    rare = pl.when(pl.int_range(pl.len()) % 5 == 0).then(known)
    (tmp_path / "rare").mkdir()
    written = _init(_stream().with_columns(label_known_at=rare), tmp_path / "rare")
    assert "data.label_time_column" not in written.settings


def test_times_written_as_text_are_recognised(tmp_path: Path) -> None:
    frame = _stream().with_columns(event_time=pl.col("event_time").dt.strftime("%Y-%m-%d %H:%M:%S"))
    frame.write_csv(tmp_path / "all.csv")
    assert door.init(tmp_path, Wishes()).settings["data.time_column"].value == "event_time"


def test_rows_without_any_time_are_refused(tmp_path: Path) -> None:
    _stream().drop("event_time").write_parquet(tmp_path / "all.parquet")
    with pytest.raises(RehoneError) as caught:
        door.init(tmp_path, Wishes())
    assert str(caught.value) == (
        "no column of all.parquet holds dates or times, and the files have no date in their names: name the column "
        "with --time, or name files like 2026-08-31.parquet"
    )


# --- what a model must not see ----------------------------------------------------------------


def _with(expression: Callable[[pl.DataFrame, np.random.Generator], object], name: str = "extra") -> pl.DataFrame:
    frame = _stream()
    return frame.with_columns(pl.Series(name, expression(frame, np.random.default_rng(5))))


SUSPECTS: list[tuple[str, Callable[[pl.DataFrame, np.random.Generator], object], str]] = [
    ("token", lambda f, r: [f"t{i:x}" for i in r.permutation(f.height)], "an id: 100% of its values occur once"),
    ("ref", lambda f, r: r.permutation(f.height), "an id: 100% of its values occur once"),
    (
        "shop_key",
        lambda f, r: r.integers(0, 300, f.height),
        "an id: 299 different values; a model would learn single cases by heart",
    ),
    (
        "age_of_system",
        lambda f, _r: (np.arange(f.height) // 60).astype(float),
        "a clock: it only ever grows with time, so that no later value was seen in training",
    ),
    (
        "month",
        lambda f, _r: f["event_time"].dt.month(),
        "a clock: it only ever grows with time, so that no later value was seen in training",
    ),
    ("batch", lambda f, _r: [3] * f.height, "constant: every row has the same value"),
    ("nothing", lambda f, _r: pl.Series([None] * f.height, dtype=pl.Float64), "empty: no row has a value"),
    (
        "refund",
        lambda f, r: f["label"] * 5.0 + r.random(f.height) * 4.9,
        "a leak: alone it has ROC-AUC 1.000, which only what is known afterwards reaches",
    ),
    (
        "state",
        lambda f, _r: ["disputed" if y else "settled" for y in f["label"]],
        "a leak: alone it has ROC-AUC 1.000, which only what is known afterwards reaches",
    ),
    (
        "disputed_for",
        lambda f, r: [float(x) if y else None for x, y in zip(r.random(f.height), f["label"], strict=True)],
        "a leak: filled in for 100% of positives and 0% of negatives",
    ),
    ("case_outcome", lambda f, r: r.random(f.height), "named for something known only afterwards"),
    ("tags", lambda f, _r: [["a"]] * f.height, "its type List(String) is neither numeric nor boolean nor text"),
]


@pytest.mark.parametrize(("name", "values", "why"), SUSPECTS, ids=[name for name, _, _ in SUSPECTS])
def test_a_suspicious_column_is_left_out_with_the_reason_beside_it(
    tmp_path: Path, name: str, values: Callable[[pl.DataFrame, np.random.Generator], object], why: str
) -> None:
    written = _init(_with(values, name), tmp_path)
    assert _excluded(written) == {name: why}
    assert f'    "{name}",  # {why}\n' in (tmp_path / "rehone.toml").read_text()
    assert load_config(tmp_path).data.exclude == (name,)


def test_honest_columns_are_not_suspected(tmp_path: Path) -> None:
    frame = _stream()
    rng = np.random.default_rng(9)
    honest = frame.with_columns(
        hour=frame["event_time"].dt.hour(),
        weekday=frame["event_time"].dt.weekday(),
        minute_of_day=frame["event_time"].dt.hour().cast(pl.Int32) * 60 + frame["event_time"].dt.minute(),
        strong=pl.Series(frame["label"].to_numpy() * 2.0 + rng.normal(0, 1, frame.height)),
        patchy=pl.Series([x if x > 0.3 else None for x in rng.random(frame.height)]),
        trend=pl.Series(np.arange(frame.height) / 1000 + rng.normal(0, 1, frame.height)),
        city=pl.Series(rng.choice([f"c{i}" for i in range(200)], frame.height)),
    )
    assert _excluded(_init(honest, tmp_path)) == {}


@pytest.mark.parametrize("example", ["bike_high_demand", "nycflights13_ewr"])
def test_no_column_of_the_real_examples_is_suspected(tmp_path: Path, example: str) -> None:
    (tmp_path / "x.parquet").write_bytes((EXAMPLE / example / f"{example}.parquet").read_bytes())
    written = door.init(tmp_path, Wishes())
    assert _excluded(written) == {}
    assert written.settings["data.time_column"].value == "event_date"
    assert written.settings["data.label"].value == "label"


def test_ids_entities_and_codes_get_their_roles(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    n = DAYS * PER_DAY
    frame = _stream().with_columns(
        transaction_id=pl.Series(rng.permutation(n) + 10_000),
        customer_id=pl.Series(rng.integers(0, 400, n)),
        product_code=pl.Series(rng.integers(1, 9, n)),
    )
    written = _init(frame, tmp_path)
    assert written.settings["data.id_column"].value == "transaction_id"
    assert written.settings["data.entity_column"].value == "customer_id"
    assert written.settings["data.categorical"].value == ("product_code",)
    assert written.inferred.features == ("amount", "country", "weekend", "product_code")


# --- limits that fit the data -----------------------------------------------------------------


def test_a_label_rate_beyond_the_default_bounds_gets_bounds_that_fit(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    frame = _stream().with_columns(label=pl.Series((rng.random(DAYS * PER_DAY) < 0.55).astype(int)))
    written = _init(frame, tmp_path)
    assert written.settings["data.max_label_rate"].value == 0.8
    assert written.settings["data.max_label_rate"].why.startswith("trailing windows of these data have 5")
    assert "data.min_label_rate" not in written.settings


def test_rare_positives_get_a_lower_bound_and_a_longer_window(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    frame = _stream().with_columns(label=pl.Series((rng.random(DAYS * PER_DAY) < 0.012).astype(int)))
    written = _init(frame, tmp_path)
    assert written.settings["data.min_label_rate"].value == 0.006
    assert written.settings["data.lookback_days"].value == 365


def test_sparse_data_get_a_window_in_which_the_least_number_of_rows_is_reached(tmp_path: Path) -> None:
    frame = _stream(400, 2)
    written = _init(frame, tmp_path)
    lookback = written.settings["data.lookback_days"].value
    assert 2 * lookback >= 1.5 * load_config(tmp_path).data.min_rows
    assert lookback == 545


def test_a_weekly_feed_is_not_called_stale_after_three_days(tmp_path: Path) -> None:
    frame = _stream().filter(pl.col("event_time").dt.weekday() == 1)
    written = _init(frame, tmp_path)
    assert written.settings["data.stale_after_days"] == Setting(
        key="data.stale_after_days", value=14, why="data come every 7 days"
    )


def test_a_label_that_is_still_missing_for_the_newest_days_gives_its_delay(tmp_path: Path) -> None:
    newest = datetime(2026, 4, 17, tzinfo=UTC)
    frame = _stream().with_columns(label=pl.when(pl.col("event_time") < newest).then(pl.col("label")))
    written = _init(frame, tmp_path)
    assert written.settings["data.label_delay_days"].value == 14
    assert [said for said in written.inferred.undecided if said.startswith("data.label_delay_days")] == []


def test_an_unknown_label_delay_is_said_to_need_a_decision(tmp_path: Path) -> None:
    written = _init(_stream(), tmp_path)
    assert written.inferred.undecided == [
        "data.label_delay_days: nothing in the data says how long after the event a label is final; 0 means at once: set it"
    ]
    assert "# -> DECIDE: nothing in the data says how long after the event" in (tmp_path / "rehone.toml").read_text()


def test_fewer_rows_than_a_run_needs_are_said(tmp_path: Path) -> None:
    assert _init(_stream(20, 10), tmp_path).inferred.notes == [
        "200 rows are there, need at least 500 (data.min_rows): a run will say so until there are more."
    ]


# --- as a command -------------------------------------------------------------------------------


def test_init_on_the_real_data_says_what_it_found_and_what_comes_next(tmp_path: Path) -> None:
    data = EXAMPLE / "bike_high_demand" / "bike_high_demand.parquet"
    (tmp_path / "bikes").mkdir()
    (tmp_path / "bikes" / data.name).write_bytes(data.read_bytes())
    done = subprocess.run([REHONE, "init", "bikes"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "wrote bikes/rehone.toml: 1 file, 17,379 rows, 2011-01-01 to 2012-12-31",
        "  time      event_date: the only column of times",
        "  label     label: a column of 0 and 1 with the name of a label; 22.6% positives",
        "  features  10 (5 categorical, 5 numeric): season, hr, holiday, weekday,",
        "            workingday, weathersit, temp, atemp, hum, windspeed",
        "  set       data.min_label_rate = 0.003: trailing windows of these data have",
        "            0.677% to 42.2% positives",
        "  set       data.max_label_rate = 0.7: trailing windows of these data have",
        "            0.677% to 42.2% positives",
        "  decide    data.timezone: event times carry no zone and are read as UTC: set it",
        "            if they are local times",
        "  decide    data.label_delay_days: nothing in the data says how long after the",
        "            event a label is final; 0 means at once: set it",
        "  next      `rehone run --as-of 2013-01-01 -p bikes` makes a first version; the",
        "            newest row is of 2012-12-31, so a run of today would call the feed",
        "            stale",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_init_never_asks_when_nobody_is_at_a_terminal(tmp_path: Path) -> None:
    _by_day(_flags("holiday", "promoted"), tmp_path)
    done = subprocess.run(
        [REHONE, "init", str(tmp_path)],
        input="1\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "2 columns could be the label (holiday, promoted): say which, as in `rehone init --label holiday`\n"
    )
