"""What the service says in the protocols of others: tensors, OpenAPI and Prometheus, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import math
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from rehone import artifact
from rehone.config import Config, Data, Project, Serve
from rehone.records import Contract, Feature, FeatureKind, ShadowReport
from rehone.serve import App, Loaded, Refusal, Serving, openapi
from rehone.serve.assembly import assemble
from rehone.serve.meters import Meters, MeterState
from rehone.serve.rows import Asked, Reader
from rehone.serve.server import identity, listen
from rehone.serve.v2 import HEADER_LENGTH, Infer, Limits, Output, parse_infer
from rehone.serve.v2.tensors import DTYPES

CONTRACT = Contract(
    features=(
        Feature("amount", FeatureKind.NUMERIC),
        Feature("night", FeatureKind.BOOLEAN),
        Feature("city", FeatureKind.CATEGORICAL, ("3", "Bonn", "Köln")),
    ),
    label="fraud",
)
VERSION = "3f9a1c0b7d42" + "0" * 52
LIMITS = Limits(max_rows=50)
COLUMNS: dict[str, list[Any]] = {
    "amount": [12.5, None, -3.0, 1e300],
    "night": [True, None, False, False],
    "city": ["Bonn", None, "Atlantis", "3"],
}
ROW = {"amount": 12.5, "night": True, "city": "Bonn"}
INFER = "/v2/models/fraud-model/infer"


def a_predictor() -> artifact.Predictor:
    draw = np.random.default_rng(1)
    X = draw.normal(size=(200, 3))
    y = (X @ draw.normal(size=3) + draw.normal(size=200) > 0).astype(int)
    pipeline = Pipeline([("preprocess", SimpleImputer()), ("model", LogisticRegression(C=0.01))]).fit(X, y)
    return artifact.Predictor(contract=CONTRACT, pipeline=pipeline, threshold=0.5)


PREDICTOR = a_predictor()
LIVE = Serving(loaded=Loaded(PREDICTOR, VERSION), generation=7)


@dataclass
class Door:
    """A service that listens, and how to ask it."""

    port: int
    app: App

    @property
    def routes(self) -> set[str]:
        """Every path that is answered, as people write it."""
        return {*self.app._routes, *(name for _, name, _ in self.app._patterns)}

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, raw, headers or {})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text

    def json(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        status, _, text = self.ask(method, path, body, headers)
        return status, json.loads(text)


@contextlib.contextmanager
def opened(root: Path, serving: Serving = LIVE, **policy: Any) -> Iterator[Door]:
    """Serve in a thread of this process, on a free port; what is served is set by hand, all else is the service's."""
    serve = Serve(**{"port": 0, "max_rows": 50, "max_body_bytes": 20_000} | policy)
    config = Config(project=Project(name="fraud-model"), data=Data(id_column="id"), serve=serve, root=root)
    with ThreadPoolExecutor(2) as workers, listen("127.0.0.1", 0) as listener:
        now = datetime.now(UTC)
        parts = assemble(config, identity(listener, now), workers, lambda: datetime.now(UTC))
        parts.follower.now = serving
        server = uvicorn.Server(uvicorn.Config(parts.app, lifespan="off", log_config=None, interface="asgi3"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
        thread.start()
        try:
            yield Door(listener.getsockname()[1], parts.app)
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Return one service for the tests that do not change it."""
    with opened(tmp_path_factory.mktemp("service")) as found:
        yield found


TOKEN = "0123456789abcdef"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Door]:
    """Return a service of its own, which knows operators by their token."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    with opened(tmp_path, token_file="token") as found:
        yield found


def offline(columns: dict[str, list[Any]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return PREDICTOR.predict_proba(artifact.frame_of(columns, CONTRACT))


def tensor(name: str, datatype: str, data: list[Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data} | more


def tensors(columns: dict[str, list[Any]] = COLUMNS) -> list[dict[str, Any]]:
    kinds = {"amount": "FP64", "night": "BOOL", "city": "BYTES"}
    return [tensor(name, kinds[name], data) for name, data in columns.items()]


def parsed(request: Any, limits: Limits = LIMITS, binary: bytes | None = None) -> Infer | Refusal:
    said = json.dumps(request).encode()
    return parse_infer(said + (binary or b""), None if binary is None else len(said), CONTRACT, limits)


def problems(inputs: list[Any], limits: Limits = LIMITS, binary: bytes | None = None) -> list[str]:
    found = parsed({"inputs": inputs}, limits, binary)
    assert isinstance(found, Refusal)
    assert found.status == 422
    return [problem.sentence.strip() for problem in found.problems]


# --- reading tensors ------------------------------------------------------------------------


def test_tensors_become_the_columns_that_were_sent() -> None:
    found = parsed({"id": "a", "inputs": tensors()})
    assert found == Infer("a", 4, COLUMNS, (Output("probability", False), Output("decision", False)))


def test_one_element_a_row_is_the_same_as_flat_data() -> None:
    nested = [t | {"shape": [4, 1], "data": [[value] for value in t["data"]]} for t in tensors()]
    assert parsed({"inputs": nested}) == parsed({"inputs": tensors()})


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name != "BYTES"])
def test_every_datatype_of_numbers_is_read_from_bytes_and_from_json(datatype: str) -> None:
    dtype = np.dtype("?") if datatype == "BOOL" else DTYPES[datatype]
    values = np.array([0, 1, 1], dtype=dtype)
    rest = tensors({"night": [True] * 3, "city": ["3"] * 3})
    as_json = parsed({"inputs": [tensor("amount", datatype, values.tolist()), *rest]})
    bare = {"name": "amount", "datatype": datatype, "shape": [3], "parameters": {"binary_data_size": values.nbytes}}
    as_bytes = parsed({"inputs": [bare, *rest]}, binary=values.tobytes())
    assert isinstance(as_json, Infer)
    assert as_json == as_bytes
    assert as_json.columns["amount"] == [0, 1, 1]
    assert not any(isinstance(value, bool) for value in as_json.columns["amount"])


def test_numbers_that_are_not_finite_are_missing_values() -> None:
    values = np.array([math.nan, math.inf, -math.inf, 1.5], dtype="<f4")
    bare = {"name": "amount", "datatype": "FP32", "shape": [4], "parameters": {"binary_data_size": 16}}
    found = parsed({"inputs": [bare, *tensors()[1:]]}, binary=values.tobytes())
    assert isinstance(found, Infer)
    assert found.columns["amount"] == [None, None, None, 1.5]


def test_a_number_has_the_precision_of_its_datatype_in_json_too() -> None:
    found = parsed({"inputs": [tensor("amount", "FP32", [0.1] * 4), *tensors()[1:]]})
    assert isinstance(found, Infer)
    assert found.columns["amount"] == [float(np.float32(0.1))] * 4


def test_categories_and_truths_may_be_sent_as_numbers() -> None:
    inputs = [tensor("amount", "INT8", [1, 2]), tensor("night", "INT64", [1, 0]), tensor("city", "INT32", [3, 4])]
    found = parsed({"inputs": inputs})
    assert isinstance(found, Infer)
    asked = Reader(CONTRACT).of_columns(found.columns, 10)
    assert isinstance(asked, Asked)
    assert asked.rows == [(1.0, True, "3"), (2.0, False, "4")]


def test_text_is_read_from_bytes() -> None:
    texts = ["Bonn", "", "Köln", "x" * 300]
    raw = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
    bare = {"name": "city", "datatype": "BYTES", "shape": [4, 1], "parameters": {"binary_data_size": len(raw)}}
    found = parsed({"inputs": [*tensors()[:2], bare]}, binary=raw)
    assert isinstance(found, Infer)
    assert found.columns["city"] == texts


def test_every_problem_is_listed_and_said_in_one_sentence() -> None:
    inputs = [tensor("amount", "BYTES", ["x"]), tensor("night", "FP99", [1]), tensor("amount", "FP64", [1]), 5]
    found = parsed({"id": 7, "inputs": inputs, "outputs": [{"name": "score"}]})
    assert isinstance(found, Refusal)
    assert {(p.row, p.column, p.problem) for p in found.problems} == {
        (None, "amount", "is there more than once: send it once"),
        (None, "night", f'has the datatype "FP99": send one of {", ".join(DTYPES)}'),
        (None, "city", "is absent: send it as BYTES of shape [n] or [n, 1]"),
        (None, None, "input 3 has no name: send an object with name, shape, datatype, data"),
        (None, None, 'output "score" is not one of probability, decision: correct the outputs'),
        (None, None, "id is 7: send text"),
    }
    assert found.error.startswith("the inputs cannot be read, 6 problems: ")
    assert all(problem.sentence.strip() in found.error for problem in found.problems)


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ({"shape": [-1]}, "column 'amount' has the shape [-1]: send [n] or [n, 1]"),
        ({"shape": [4, 2]}, "column 'amount' has the shape [4, 2]: send [n] or [n, 1]"),
        ({"shape": [True]}, "column 'amount' has the shape [true]: send [n] or [n, 1]"),
        ({"shape": [2**70]}, f"column 'amount' has the shape [{2**70}]: send [n] or [n, 1]"),
        ({"shape": 4}, "column 'amount' has the shape 4: send [n] or [n, 1]"),
        ({"shape": [3]}, "column 'amount' has 3 rows, another input has 4: let them agree"),
        ({"data": [1, 2]}, "column 'amount' has 2 elements in its data, 4 in its shape: let them agree"),
        ({"data": 3}, "column 'amount' has 3 as its data: send a list"),
        ({"data": [[1], 2, 3, 4]}, "row 1 column 'amount' holds 2 where a list of one element belongs"),
        ({"data": [[1, 2], [3, 4]]}, "row 0 column 'amount' holds a list of 2 where a list of one element belongs"),
        (
            {"data": [1, "x", 3, 4]},
            "row 1 column 'amount' is \"x\", its datatype holds numbers or null: correct it or the datatype",
        ),
        (
            {"data": [1, 2, 3, 300], "datatype": "INT8"},
            "row 3 column 'amount' is 300, more than INT8 can hold: correct it or the datatype",
        ),
        (
            {"data": [1, 2, 1e39, 3], "datatype": "FP32"},
            "row 2 column 'amount' is 1e39, more than FP32 can hold: correct it or the datatype",
        ),
        ({"data": ["x"] * 4, "datatype": "BYTES"}, "column 'amount' is BYTES, the model reads numbers here: send FP64"),
        (
            {"parameters": {"shared_memory_region": "x"}},
            "column 'amount' lies in shared memory, which this service does not read: send its data",
        ),
        (
            {"parameters": {"binary_data_size": 0}},
            "column 'amount' has both JSON and binary data: send one of data and parameters.binary_data_size",
        ),
        (
            {"parameters": {"binary_data_size": 2**62}},
            f"column 'amount' declares {2**62} bytes of binary data, 0 are there: send as many as declared",
        ),
        (
            {"parameters": {"binary_data_size": -1}},
            "column 'amount' declares -1 bytes of binary data, 0 are there: send as many as declared",
        ),
    ],
)
def test_a_tensor_that_is_wrong_is_told_why(amount: dict[str, Any], said: str) -> None:
    first = tensor("amount", "FP64", [1.0, 2.0, 3.0, 4.0]) | amount
    assert said in problems([first, *tensors()[1:]])


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "row 0 column 'city' ends before this element does: write 4 bytes of length before each"),
        (b"\xff\xff\xff\xff", "row 0 column 'city' ends before this element does: write 4 bytes of length before each"),
        (b"\x01\0\0\0a", "row 1 column 'city' ends before this element does: write 4 bytes of length before each"),
        (b"\x01\0\0\0\xff\0\0\0\0", "row 0 column 'city' is not UTF-8: send text"),
        (b"\0" * 9, "column 'city' has 1 bytes behind its last element: send as many as its shape says"),
    ],
)
def test_binary_text_that_lies_is_refused(raw: bytes, said: str) -> None:
    bare = {"name": "city", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    rest = tensors({"amount": [1.0, 2.0], "night": [True, False]})
    assert problems([*rest, bare], binary=raw) == [said]


@pytest.mark.parametrize(("datatype", "size"), [("FP64", 15), ("FP64", 24), ("INT8", 1), ("BOOL", 3)])
def test_binary_numbers_that_are_too_few_or_too_many_are_refused(datatype: str, size: int) -> None:
    bare = {"name": "amount", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": size}}
    rest = tensors({"night": [True, False], "city": ["3", "4"]})
    whole = 2 * np.dtype(DTYPES[datatype]).itemsize
    assert problems([bare, *rest], binary=bytes(size)) == [
        f"column 'amount' has {size} bytes of data, 2 elements of {datatype} are {whole}: send as many as its shape says"
    ]


def test_bytes_that_no_input_declares_are_refused() -> None:
    assert problems(tensors(), binary=b"abc") == [
        "3 bytes follow the JSON, the inputs declare 0: let parameters.binary_data_size say how many are whose"
    ]


def test_other_inputs_are_ignored_or_refused_as_the_policy_says() -> None:
    more = [*tensors(), tensor("zip", "INT32", [1]), tensor("id", "BYTES", list("abcd"))]
    found = parsed({"inputs": more}, Limits(max_rows=50, kept=frozenset({"id"})))
    assert isinstance(found, Infer)
    assert found.columns == COLUMNS | {"id": ["a", "b", "c", "d"]}
    strict = Limits(max_rows=50, kept=frozenset({"id"}), refuse_unknown=True)
    assert problems(more, strict) == ["column 'zip' is not read by the model: leave it out"]


@pytest.mark.parametrize(
    ("body", "length", "status", "error"),
    [
        (b"{", None, 400, "the body is not JSON (Input data was truncated)"),
        (b'{"inputs": [{"data": [NaN]}]}', None, 400, "the body is not JSON ("),
        (b"{}", 3, 400, "inference-header-content-length is 3, the body has 2 bytes: let them agree"),
        (b"[" * 30_000, None, 400, "the body nests too deeply to be an inference request"),
        (b"3", None, 422, 'the body is not an inference request: send an object with a list of "inputs"'),
        (b'{"inputs": {}}', None, 422, 'the body is not an inference request: send an object with a list of "inputs"'),
        (
            b'{"inputs": [{"name": "amount", "datatype": "FP64", "shape": [51], "data": []}]}',
            None,
            413,
            "51 rows in one request, at most 50: send them in several requests",
        ),
    ],
)
def test_a_body_that_is_not_a_request_is_refused_with_its_status(
    body: bytes, length: int | None, status: int, error: str
) -> None:
    found = parse_infer(body, length, CONTRACT, LIMITS)
    assert isinstance(found, Refusal)
    assert found.status == status
    assert found.error.startswith(error)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda deeper: st.lists(deeper, max_size=4) | st.dictionaries(st.text(max_size=4), deeper, max_size=3),
    max_leaves=8,
)
sizes = st.integers(-2, 40) | st.sampled_from([2**31, 2**63, 2**64, 10**300])
some_tensor = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([*CONTRACT.names, "zip"]) | anything,
        "datatype": st.sampled_from(list(DTYPES)) | anything,
        "shape": st.lists(sizes, max_size=3) | anything,
        "data": st.lists(anything, max_size=4) | anything,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": sizes | anything}) | anything,
    },
)
some_request = st.fixed_dictionaries(
    {"inputs": st.lists(some_tensor | anything, max_size=5) | anything},
    optional={"id": anything, "outputs": st.lists(some_tensor, max_size=2) | anything, "parameters": anything},
)


@settings(deadline=None, max_examples=250)
@given(
    (some_request | anything).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60),
    st.binary(max_size=40),
    st.none() | st.integers(-3, 3),
)
def test_any_body_becomes_columns_of_one_length_or_a_refusal(body: bytes, binary: bytes, off: int | None) -> None:
    length = None if off is None else max(len(body) + off, 0)
    found = parse_infer(body + binary, length, CONTRACT, LIMITS)
    if isinstance(found, Refusal):
        assert found.status in (400, 413, 422)
        assert json.loads(json.dumps(found.error))
    else:
        assert set(CONTRACT.names) <= found.columns.keys()
        assert {len(values) for values in found.columns.values()} == {found.rows}
        assert isinstance(Reader(CONTRACT).of_columns(found.columns, 50), Asked | Refusal)


numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
good_row = st.tuples(numbers, st.none() | st.booleans(), st.none() | st.text(max_size=5))


@settings(deadline=None, max_examples=100)
@given(st.lists(good_row, min_size=1, max_size=6))
def test_good_tensors_give_the_matrix_that_python_callers_get(rows: list[tuple[Any, ...]]) -> None:
    columns = {name: [row[i] for row in rows] for i, name in enumerate(CONTRACT.names)}
    found = parsed({"inputs": tensors(columns)})
    assert isinstance(found, Infer)
    reader = Reader(CONTRACT)
    asked = reader.of_columns(found.columns, 50)
    assert isinstance(asked, Asked)
    np.testing.assert_array_equal(
        reader.encode(asked.rows), artifact.encode(artifact.frame_of(columns, CONTRACT), CONTRACT)
    )


# --- the Open Inference Protocol over a socket ------------------------------------------------


@contextlib.contextmanager
def triton(door: Door) -> Iterator[tuple[Any, Any]]:
    """Return NVIDIA's client of this service, and the module that it comes from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gevent warns of what it does with threads
        import tritonclient.http as module

        with module.InferenceServerClient(door.host) as client:
            yield client, module


def test_a_client_of_triton_finds_the_server_and_the_model(door: Door) -> None:
    with triton(door) as (client, _):
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("fraud-model")
        assert client.is_model_ready("fraud-model", VERSION[:12])
        assert not client.is_model_ready("fraud-model", "0" * 12)
        assert not client.is_model_ready("other")
        assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
        assert client.get_model_metadata("fraud-model") == {
            "name": "fraud-model",
            "versions": [VERSION],
            "platform": "rehone",
            "inputs": [
                {"name": "amount", "datatype": "FP64", "shape": [-1]},
                {"name": "night", "datatype": "BOOL", "shape": [-1]},
                {"name": "city", "datatype": "BYTES", "shape": [-1]},
            ],
            "outputs": [
                {"name": "probability", "datatype": "FP64", "shape": [-1]},
                {"name": "decision", "datatype": "BOOL", "shape": [-1]},
            ],
        }


@pytest.mark.parametrize("sent", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("wanted", [None, True, False], ids=["default", "binary", "json"])
@pytest.mark.parametrize("width", [(), (1,)], ids=["flat", "column"])
def test_a_client_of_triton_gets_the_predictions_of_python(
    door: Door, sent: bool, wanted: bool | None, width: tuple[int, ...]
) -> None:
    known: dict[str, list[Any]] = {"amount": [12.5, -3.0, 7e9], "night": [True, False, True], "city": ["Bonn", "", "3"]}
    arrays = {
        "amount": ("FP64", np.array(known["amount"])),
        "night": ("BOOL", np.array(known["night"])),
        "city": ("BYTES", np.array(known["city"], dtype=np.object_)),
    }
    with triton(door) as (client, module):
        inputs = []
        for name, (datatype, values) in arrays.items():
            inputs.append(module.InferInput(name, [3, *width], datatype))
            inputs[-1].set_data_from_numpy(values.reshape(3, *width), binary_data=sent)
        names = ("decision", "probability")
        outputs = None if wanted is None else [module.InferRequestedOutput(n, binary_data=wanted) for n in names]
        found = client.infer("fraud-model", inputs, outputs=outputs, request_id="abc", model_version=VERSION)
    expected = offline(known)
    np.testing.assert_array_equal(found.as_numpy("probability"), expected)
    np.testing.assert_array_equal(found.as_numpy("decision"), expected >= PREDICTOR.threshold)
    said = found.get_response()
    assert (said["id"], said["model_name"], said["model_version"]) == ("abc", "fraud-model", VERSION)
    assert said["parameters"] == {"generation": 7, "threshold": 0.5}
    if outputs:
        assert tuple(output["name"] for output in said["outputs"]) == names


def test_missing_values_are_nan_or_null(door: Door) -> None:
    with triton(door) as (client, module):
        inputs = [module.InferInput("amount", [2], "FP32"), module.InferInput("night", [2], "FP32")]
        for one in inputs:
            one.set_data_from_numpy(np.array([np.nan, 1.0], dtype=np.float32))
        city = module.InferInput("city", [2], "INT64")
        city.set_data_from_numpy(np.array([3, 4]))
        found = client.infer("fraud-model", [*inputs, city]).as_numpy("probability")
    np.testing.assert_array_equal(found, offline({"amount": [None, 1.0], "night": [None, True], "city": ["3", "4"]}))
    status, said = door.json("POST", INFER, {"inputs": tensors()})
    assert status == 200
    assert said["outputs"][0]["data"] == offline(COLUMNS).tolist()


def test_a_client_of_triton_is_told_what_is_wrong(door: Door) -> None:
    with triton(door) as (client, module):
        amount = module.InferInput("amount", [1], "FP64")
        amount.set_data_from_numpy(np.array([1.0]))
        with pytest.raises(Exception, match=r"\[422\].*2 problems: column 'night' is absent.*column 'city' is absent"):
            client.infer("fraud-model", [amount])


def test_values_that_the_model_does_not_read_are_listed_with_their_rows(door: Door) -> None:
    inputs = [tensor("amount", "FP64", [1, 2]), tensor("night", "INT8", [2, 1]), tensor("city", "BYTES", ["a", "b"])]
    status, said = door.json("POST", INFER, {"inputs": inputs})
    assert status == 422
    assert said["problems"] == [
        {
            "row": 0,
            "column": "night",
            "problem": "is 2, the model reads true or false here: correct it, or send null if it is missing",
        }
    ]
    assert said["error"].startswith("the inputs cannot be read, 1 problem: row 0 column 'night' is 2,")


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/v2/models/other/infer", 404, "there is no model 'other' here: ask for 'fraud-model'"),
        (
            "/v2/models/fraud-model/versions/1/infer",
            404,
            f"version '1' is not in memory: ask for {VERSION}, or for none and get the live one",
        ),
    ],
)
def test_another_model_or_version_is_not_found(door: Door, path: str, status: int, error: str) -> None:
    assert door.json("POST", path, {"inputs": tensors()}) == (status, {"error": error})


@pytest.mark.parametrize("length", ["x", "-1", "", "9" * 30, "1.0"])
def test_a_length_that_is_not_a_number_is_refused(door: Door, length: str) -> None:
    status, said = door.json("POST", INFER, b"{}", {HEADER_LENGTH.decode(): length})
    assert status == 400
    assert said == {"error": f"inference-header-content-length is {length!r}: send the length of the JSON in bytes"}


def test_a_request_is_named_by_its_id_else_by_its_header_else_by_the_service(door: Door) -> None:
    for body, headers, expected in (
        ({"id": "mine"}, {"x-request-id": "other"}, "mine"),
        ({}, {"x-request-id": "other"}, "other"),
    ):
        status, seen, text = door.ask("POST", INFER, body | {"inputs": tensors()}, headers)
        assert (status, json.loads(text)["id"], seen["x-request-id"]) == (200, expected, expected)
    made = {door.json("POST", INFER, {"inputs": tensors()})[1]["id"] for _ in range(3)}
    assert len(made) == 3
    assert door.json("POST", INFER, {"id": "a b", "inputs": tensors()})[0] == 400


def test_no_rows_are_no_predictions(door: Door) -> None:
    status, said = door.json("POST", INFER, {"inputs": tensors({name: [] for name in CONTRACT.names})})
    assert status == 200
    assert [(output["shape"], output["data"]) for output in said["outputs"]] == [([0], []), ([0], [])]


def test_without_a_model_the_protocol_says_so(tmp_path: Path) -> None:
    none = "no model is loaded: nothing has been deployed yet, deploy a version with `rehone run`"
    with opened(tmp_path, Serving()) as empty:
        assert empty.json("GET", "/v2")[0] == 200
        assert empty.json("GET", "/v2/health/live") == (200, {"live": True})
        assert empty.json("GET", "/v2/health/ready") == (503, {"ready": False})
        assert empty.json("GET", "/v2/models/fraud-model/ready") == (503, {"name": "fraud-model", "ready": False})
        assert empty.json("GET", "/v2/models/fraud-model") == (503, {"error": none})
        assert empty.json("POST", INFER, {"inputs": tensors()}) == (503, {"error": none})
        assert empty.json("GET", "/v2/models/other")[0] == 404
        row = empty.json("GET", "/openapi.json")[1]["components"]["schemas"]["Row"]
        assert row["description"] == "No model is loaded: what its rows are made of is not known yet."
        assert empty.ask("GET", "/docs")[0] == 200
        assert samples(empty)["rehone_model_loaded", ()] == 0


# --- Prometheus -------------------------------------------------------------------------------

Labels = tuple[tuple[str, str], ...]


def samples_of(text: bytes) -> dict[tuple[str, Labels], float]:
    return {
        (sample.name, tuple(sorted((k, v) for k, v in sample.labels.items() if k != "replica"))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def samples(door: Door) -> dict[tuple[str, Labels], float]:
    status, headers, text = door.ask("GET", "/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return samples_of(text)


def test_the_metrics_are_what_was_sent(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        scores: list[float] = []
        for rows in (ROW, [ROW] * 3, [ROW] * 20):
            status, said = door.json("POST", "/predict", rows)
            assert status == 200
            scores += [prediction["probability"] for prediction in said["predictions"]]
        status, said = door.json("POST", INFER, {"inputs": tensors()})
        scores += said["outputs"][0]["data"]
        assert door.ask("POST", "/predict", b"{")[0] == 400
        assert door.ask("POST", "/predict", b"{}")[0] == 422
        assert door.ask("GET", "/secret/path")[0] == 404
        found = samples(door)
    assert found["rehone_requests_total", (("route", "/predict"), ("status", "200"))] == 3
    assert found["rehone_requests_total", (("route", "/predict"), ("status", "422"))] == 1
    infer = ("route", "/v2/models/{model}/infer")
    assert found["rehone_requests_total", (infer, ("status", "200"))] == 1
    assert not any("/secret/path" in str(key) for key in found)
    assert found["rehone_errors_total", (("side", "client"),)] == 3
    assert found["rehone_errors_total", (("side", "server"),)] == 0
    assert found["rehone_request_seconds_count", (("route", "/predict"),)] == 5
    assert 0 < found["rehone_request_seconds_sum", (("route", "/predict"),)] < 60
    assert found["rehone_rows_total", ()] == len(scores) == 28
    assert found["rehone_batch_rows_count", ()] == found["rehone_batch_requests_sum", ()] == 4
    assert found["rehone_batch_rows_bucket", (("le", "4.0"),)] == 3
    assert found["rehone_batch_rows_sum", ()] == 28
    assert found["rehone_prediction_seconds_count", ()] == 4
    for step in range(1, 21):
        key = ("rehone_score_bucket", (("le", str(step / 20)), ("version", VERSION)))
        assert found[key] == sum(score <= step / 20 for score in scores)
    assert found["rehone_score_sum", (("version", VERSION),)] == pytest.approx(sum(scores))
    assert found["rehone_model_info", (("role", "live"), ("version", VERSION))] == 1
    assert found["rehone_generation", ()] == 7
    assert found["process_resident_memory_bytes", ()] > 1e6


def test_everything_that_a_service_is_shows_in_its_metrics() -> None:
    shadow = ShadowReport(version="b" * 64, rows=5, failed_rows=2, skipped_rows=1, changed_decisions=3)
    state = MeterState(
        version="a" * 64,
        generation=4,
        refused_generation=5,
        followed=False,
        pinned=True,
        waiting_rows=9,
        connections=2,
        log_written=100,
        log_dropped=3,
        log_waiting=7,
        shadow=shadow,
    )
    found = samples_of(Meters().render(state))
    named = {name: value for (name, labels), value in found.items() if not labels}
    expected = {
        "rehone_model_loaded": 1,
        "rehone_generation": 4,
        "rehone_deployment_refused": 1,
        "rehone_deployment_log_followed": 0,
        "rehone_pinned": 1,
        "rehone_waiting_rows": 9,
        "rehone_connections": 2,
        "rehone_log_written_rows_total": 100,
        "rehone_log_dropped_rows_total": 3,
        "rehone_log_waiting_rows": 7,
    }
    assert {name: named[name] for name in expected} == expected
    version = ("version", "b" * 64)
    outcomes = {
        o: found["rehone_shadow_rows_total", (("outcome", o), version)] for o in ("scored", "failed", "skipped")
    }
    assert outcomes == {"scored": 5, "failed": 2, "skipped": 1}
    assert found["rehone_shadow_changed_decisions_total", (version,)] == 3


def test_every_metric_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    meters = Meters()
    meters.requested("/predict", 200, 0.1)
    meters.scored(1, 1, 0.1, np.array([0.5]), "a")
    state = MeterState(
        version="a",
        generation=1,
        connections=1,
        log_written=1,
        log_dropped=1,
        log_waiting=1,
        shadow=ShadowReport(version="b"),
    )
    text = meters.render(state)
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    for name, family in families.items():
        assert f"| `{name}{'_total' if family.type == 'counter' else ''}` | {family.type} |" in page, name


def test_the_replica_labels_every_sample() -> None:
    meters = Meters()
    meters.requested("/predict", 200, 0.1)
    families = text_string_to_metric_families(meters.render(MeterState(replica="host-1-80")).decode())
    assert {sample.labels.get("replica") for family in families for sample in family.samples} == {"host-1-80"}


def test_scores_are_counted_alike_one_by_one_and_together() -> None:
    scores = np.concatenate([np.random.default_rng(0).random(200), np.arange(21) / 20])
    one, many = Meters(), Meters()
    many.scored(len(scores), 1, 0.1, scores, "v")
    for score in scores:
        one.scored(1, 1, 0.1, np.array([score]), "v")
    a, b = samples_of(one.render(MeterState())), samples_of(many.render(MeterState()))
    of_scores = {key for key in a if key[0] == "rehone_score_bucket"}
    assert {key: a[key] for key in of_scores} == {key: b[key] for key in of_scores}
    assert a["rehone_score_bucket", (("le", "0.05"), ("version", "v"))] == sum(scores <= 0.05)


def test_versions_and_routes_are_bounded() -> None:
    meters = Meters()
    for number in range(100):
        meters.scored(1, 1, 0.1, np.array([0.5]), f"v{number}")
        meters.requested(f"/{number}", 200, 0.1)
    found = samples_of(meters.render(MeterState()))
    versions = {dict(labels)["version"] for name, labels in found if name == "rehone_score_count"}
    assert versions == {"v96", "v97", "v98", "v99"}
    routes_ = {dict(labels)["route"] for name, labels in found if name == "rehone_request_seconds_count"}
    assert len(routes_) == 65
    assert found["rehone_request_seconds_count", (("route", "other"),)] == 36


# --- OpenAPI ------------------------------------------------------------------------------------


def test_the_description_names_the_columns_of_the_live_model(door: Door) -> None:
    _, said = door.json("GET", "/openapi.json")
    row = said["components"]["schemas"]["Row"]
    assert row["required"] == ["amount", "night", "city"]
    assert row["properties"]["amount"]["type"] == ["number", "boolean", "null"]
    assert row["properties"]["night"] == {"enum": [True, False, 1, 0, None]}
    assert row["properties"]["id"]["type"] == ["string", "integer", "null"]
    assert row["examples"] == [{"amount": 1.5, "night": True, "city": "3"}]
    example = said["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert door.ask("POST", "/predict", example)[0] == 200
    example = said["paths"]["/v2/models/{model}/infer"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert door.ask("POST", INFER, example)[0] == 200


def test_the_description_of_health_names_every_field(door: Door) -> None:
    said = door.json("GET", "/openapi.json")[1]["components"]["schemas"]["Health"]
    assert set(said["required"]) == set(said["properties"]) == set(door.json("GET", "/health")[1])


def test_the_description_names_every_route_and_no_other(door: Door, guarded: Door) -> None:
    for one in (door, guarded):
        _, said = one.json("GET", "/openapi.json")
        assert set(said["paths"]) == one.routes
    assert "/operator/pin" not in door.routes
    assert set(said["paths"]["/operator/pin"]) == {"get", "post", "delete"}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_but_itself_and_names_every_route(door: Door) -> None:
    status, headers, text = door.ask("GET", "/docs")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert headers["content-security-policy"].startswith("default-src 'none'")
    seen = _Tags()
    seen.feed(text.decode())
    assert seen.links == ["openapi.json"]
    assert b"url(" not in text
    for path in door.json("GET", "/openapi.json")[1]["paths"]:
        assert path in seen.text


@pytest.mark.parametrize(
    ("days", "said"),
    [(("Fri", "Mon", "Sat", "Sun", "Thu"), "Sun, Thu<"), (("Fri", "Mon", "Sat", "Sun", "Thu", "Tue"), "Sun, Thu, …<")],
)
def test_examples_of_a_column_say_that_there_are_more(days: tuple[str, ...], said: str) -> None:
    contract = Contract(features=(Feature("day", FeatureKind.CATEGORICAL, days),), label="y")
    served = openapi.Served(project="p", contract=contract, max_rows=1, max_body_bytes=1000)
    assert said in openapi.page(openapi.document(served)).decode()


def test_what_is_tried_on_the_page_is_no_evidence(door: Door) -> None:
    text = door.ask("GET", "/docs")[2].decode()
    assert '"x-rehone-probe": "1"' in text
    assert "not written to the prediction log" in text


def test_the_page_shows_that_a_route_opens_and_wraps_what_is_long(door: Door) -> None:
    text = door.ask("GET", "/docs")[2].decode()
    assert 'summary::before { content: "\\25b8"' in text
    assert "summary code { min-width: 0; overflow-wrap: anywhere }" in text


def test_names_of_columns_cannot_become_markup() -> None:
    evil = "<script>alert(1)</script>"
    contract = Contract(features=(Feature(evil, FeatureKind.CATEGORICAL, (evil,)),), label="y")
    served = openapi.Served(project=evil, contract=contract, max_rows=1, max_body_bytes=1000)
    assert b"<script>alert" not in openapi.page(openapi.document(served))


def test_every_route_and_every_status_is_documented(guarded: Door) -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "service-api.md").read_text(encoding="utf-8")
    _, said = guarded.json("GET", "/openapi.json")
    for path, item in said["paths"].items():
        assert f"{path}`" in page, path
        for operation in item.values():
            statuses = operation["responses"] if isinstance(operation, dict) else ()
            assert [status for status in statuses if status != "200" and f"| {status} |" not in page] == ["202"] * (
                "202" in statuses
            )


SCHEMATHESIS = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 404, 409, 413, 422]

[[operations]]
include-path-regex = "/infer$"
checks.positive_data_acceptance.enabled = false
"""


@pytest.mark.soak
def test_the_service_keeps_to_its_description(guarded: Door, tmp_path: Path) -> None:
    """That shapes, data and inputs agree with each other is more than a schema of tensors can say."""
    (tmp_path / "schemathesis.toml").write_text(SCHEMATHESIS)
    url = f"http://{guarded.host}/openapi.json"
    command = ["--config-file", "schemathesis.toml", "run", url, "--seed", "1", "--max-examples", "15"]
    authorized = ["--no-color", "--header", f"Authorization: Bearer {TOKEN}"]
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *command, "--phases", "examples,coverage,fuzzing", *authorized],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Tested: 17" in done.stdout
