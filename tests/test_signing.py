"""Only what a trusted key has signed is loaded: with real keys, a real store and real processes."""

from __future__ import annotations

import ast
import contextlib
import http.client
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import rehone
from conftest import Project
from rehone import api, signing
from rehone.cli import endings, main
from rehone.config import Config, Deploy, load_config
from rehone.deploy import heal, preflight, promote, rollback
from rehone.errors import Corrupt, NotFound, SigningError, StoreError
from rehone.pipeline.evidence import read_champion
from rehone.records import Deployment, ModelVersion
from rehone.serve import follower
from rehone.signing import new_key, policy_of, require, signer
from rehone.store import Store
from store_kit import (
    DAY,
    QUICK,
    Died,
    DyingDisk,
    PowerCutDisk,
    SwiftDisk,
    bring,
    deployment,
    files,
    live,
    manifest,
    now,
    order,
    publish,
)

SOURCES = Path(rehone.__file__).parent


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return new_key(tmp_path / "one.pem").private


def with_keys(private: Path | None, *trusted: Path, **keys: Any) -> Deploy:
    """Return a policy that signs with a private key and trusts the public parts of some."""
    return Deploy(
        signing_key=str(private) if private else None,
        trusted_keys=tuple(f"{path}.pub" for path in trusted),
        **keys,
    )


def signed(store: Store, n: int, private: Path) -> ModelVersion:
    return store.publish(manifest(n), files(n), sign=signer(with_keys(private)))


def the_file(store: Store, version: str) -> Path:
    (found,) = (store.root / "versions" / version).glob("*.sig")
    return found


def write(path: Path, data: bytes | None) -> None:
    """Change a file of a version as somebody who owns the store can; `None` removes it."""
    path.parent.chmod(0o755)
    if path.exists():
        path.chmod(0o644)
    path.unlink() if data is None else path.write_bytes(data)


def refusal(store: Store, version: str, policy: Deploy) -> str:
    with pytest.raises(SigningError) as caught:
        require(version, store.signatures(version), policy)
    return str(caught.value)


# --- a signature in the store -----------------------------------------------------------------------


def test_a_signature_lies_read_only_beside_the_manifest_that_does_not_name_it(store: Store, key: Path) -> None:
    version = signed(store, 1, key)
    path = the_file(store, version.id)
    assert path.name not in version.manifest.files
    assert version.id == publish(store, 1).id
    assert store.read(version.id) == files(1)
    assert path.stat().st_mode & 0o777 == 0o444
    assert path.parent.stat().st_mode & 0o777 == 0o555
    assert require(version.id, store.signatures(version.id), with_keys(None, key)) == path.stem
    assert heal(store, clock=now, policy=QUICK) == ()


def test_a_version_of_before_is_read_as_it_was_and_has_no_signature(store: Store) -> None:
    version = publish(store, 1)
    assert store.signatures(version.id) == {}
    assert require(version.id, {}, Deploy()) is None
    with pytest.raises(NotFound, match="there is no version ffffffffffff"):
        store.signatures("f" * 64)


def test_publishing_unsigned_content_again_with_a_key_signs_it(store: Store, key: Path) -> None:
    before = publish(store, 1)
    after = signed(store, 1, key)
    assert after == before
    assert require(after.id, store.signatures(after.id), with_keys(None, key))
    assert the_file(store, after.id).parent.stat().st_mode & 0o777 == 0o555
    assert list((store.root / "tmp").iterdir()) == []


def test_publishing_signed_content_again_writes_nothing(store: Store, key: Path) -> None:
    path = the_file(store, signed(store, 1, key).id)
    before = path.stat().st_ino
    assert the_file(store, signed(store, 1, key).id).stat().st_ino == before


def test_a_damaged_version_is_not_signed(store: Store, key: Path) -> None:
    version = publish(store, 1)
    write(store.root / "versions" / version.id / "model.skops", b"other")
    with pytest.raises(Corrupt, match="is damaged"):
        store.sign(version.id, "0" * 16, b"x")
    with pytest.raises(Corrupt, match="is damaged"):
        signed(store, 1, key)
    assert store.signatures(version.id) == {}


@pytest.mark.parametrize("name", ["", "../../x", "0" * 15, "G" * 16, "0" * 17])
def test_a_signature_cannot_be_written_elsewhere(store: Store, name: str) -> None:
    version = publish(store, 1)
    with pytest.raises(StoreError, match="must be 16 hexadecimal digits"):
        store.sign(version.id, name, b"x")


def test_a_file_of_a_version_cannot_take_the_name_of_a_signature(store: Store) -> None:
    with pytest.raises(Corrupt, match="names files that a version cannot hold"):
        store.publish(manifest(1), {f"{'0' * 16}.sig": b""})


def test_a_version_that_cannot_be_signed_is_not_published(store: Store, tmp_path: Path) -> None:
    def fails(_version: str) -> tuple[str, bytes]:
        raise SigningError("no")

    with pytest.raises(SigningError):
        store.publish(manifest(1), files(1), sign=fails)
    assert store.versions() == ()


STEPS: dict[str, Callable[[Store, signing.Sign], object]] = {
    "publish signed": lambda store, sign: store.publish(manifest(3), files(3), sign=sign),
    "sign what is there": lambda store, sign: store.sign(
        store.log()[-1].version or "", *sign(store.log()[-1].version or "")
    ),
    "publish again": lambda store, sign: store.publish(manifest(2), files(2), sign=sign),
}


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("name", STEPS)
def test_after_a_death_at_any_call_a_version_is_whole_and_signed_or_not_and_the_next_try_works(
    name: str, power: bool, key: Path, tmp_path: Path
) -> None:
    sign = signer(with_keys(key))
    assert sign is not None
    for at in itertools.count(1):
        root = tmp_path / f"{at}"
        calm = Store.create(root, disk=SwiftDisk())
        bring(calm, 1), bring(calm, 2)
        disk = PowerCutDisk(at) if power else DyingDisk(at, half=True)
        with contextlib.suppress(Died):
            STEPS[name](Store(root, disk=disk), sign)
        ended = not disk.dead
        if isinstance(disk, PowerCutDisk):
            disk.cut()
        after = Store(root, disk=SwiftDisk())
        assert live(after) == 2
        for version in after.versions():
            assert len(after.read(version.id)) == 3
            new = version.manifest.params["n"] == 3
            assert after.signatures(version.id) in (
                [dict([sign(version.id)])] if new else [{}, dict([sign(version.id)])]
            )
        heal(after, clock=now, policy=QUICK)
        assert list((root / "tmp").iterdir()) == []
        assert all(path.stat().st_mode & 0o222 == 0 for path in (root / "versions").rglob("*"))
        STEPS[name](after, sign)
        signed_ones = [v for v in after.versions() if after.signatures(v.id)]
        assert [v.manifest.params["n"] for v in signed_ones] == [3 if name == "publish signed" else 2]
        if ended:
            assert at > 5
            return


# --- what is refused --------------------------------------------------------------------------------


def test_an_unsigned_version_is_refused_with_the_remedy(store: Store, key: Path) -> None:
    version = publish(store, 1)
    trusted = signing.trusted(with_keys(None, key))
    assert refusal(store, version.id, with_keys(None, key)) == (
        f"version {version.short} is not loaded: it is not signed, and one of deploy.trusted_keys ({', '.join(trusted)}) "
        f"must have signed it: `rehone keys sign {version.short}` if you know where it comes from, or go back to a "
        "signed version"
    )


def test_a_signature_by_an_unknown_key_is_refused_and_the_key_is_named(store: Store, key: Path, tmp_path: Path) -> None:
    other = new_key(tmp_path / "two.pem")
    version = signed(store, 1, other.private)
    assert f"it is signed by key {other.id}, which is not among deploy.trusted_keys (" in refusal(
        store, version.id, with_keys(None, key)
    )


def test_a_signature_by_another_key_under_the_name_of_a_trusted_one_is_refused(
    store: Store, key: Path, tmp_path: Path
) -> None:
    other = new_key(tmp_path / "two.pem")
    version = signed(store, 1, other.private)
    (known,) = signing.trusted(with_keys(None, key))
    the_file(store, version.id).parent.chmod(0o755)
    the_file(store, version.id).rename(the_file(store, version.id).with_name(f"{known}.sig"))
    assert (
        f"the signature by key {known} does not verify: the file was changed, or another key has made it: "
        in refusal(store, version.id, with_keys(None, key))
    )


def test_the_signature_of_another_version_is_refused_and_that_version_is_named(store: Store, key: Path) -> None:
    a, b = signed(store, 1, key), signed(store, 2, key)
    first, second = the_file(store, a.id), the_file(store, b.id)
    swapped = first.read_bytes(), second.read_bytes()
    write(second, swapped[0])
    write(first, swapped[1])
    assert f"is of another version ({b.short})" in refusal(store, a.id, with_keys(None, key))
    assert f"is of another version ({a.short})" in refusal(store, b.id, with_keys(None, key))


def test_the_signature_of_another_version_under_this_ones_id_is_refused(store: Store, key: Path) -> None:
    a, b = signed(store, 1, key), signed(store, 2, key)
    write(the_file(store, b.id), the_file(store, a.id).read_bytes().replace(a.id.encode(), b.id.encode()))
    assert "does not verify" in refusal(store, b.id, with_keys(None, key))


def test_no_byte_of_a_signature_can_be_changed(store: Store, key: Path) -> None:
    version, policy = signed(store, 1, key), with_keys(None, key)
    (name, text), *_ = store.signatures(version.id).items()
    for at in range(len(text) - 1):
        changed = text[:at] + (b"0" if text[at : at + 1] != b"0" else b"1") + text[at + 1 :]
        with pytest.raises(SigningError, match="is not loaded"):
            require(version.id, {name: changed}, policy)
    for other in (b"", text[:-2], text + b"x", text.upper(), b"\xff" * 200, text.replace(b" 1 ", b" 2 ")):
        with pytest.raises(SigningError, match="is damaged or of a later format"):
            require(version.id, {name: other}, policy)


def test_what_was_signed_for_another_purpose_will_not_do(store: Store, key: Path) -> None:
    """The id alone, without the words before it, is not what a version's signature signs."""
    version = publish(store, 1)
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    (known,) = signing.trusted(with_keys(None, key))
    bare = private.sign(version.id.encode()).hex()  # type: ignore[union-attr, call-arg]
    store.sign(version.id, known, f"rehone signature 1 {version.id} {bare}\n".encode())
    assert "does not verify" in refusal(store, version.id, with_keys(None, key))


def test_several_trusted_keys_are_a_rotation(store: Store, key: Path, tmp_path: Path) -> None:
    new = new_key(tmp_path / "new.pem").private
    old, young = signed(store, 1, key), signed(store, 2, new)
    both = with_keys(None, key, new)
    assert require(old.id, store.signatures(old.id), both) != require(young.id, store.signatures(young.id), both)
    assert "which is not among" in refusal(store, old.id, with_keys(None, new))
    sign = signer(with_keys(new))
    assert sign is not None
    store.sign(old.id, *sign(old.id))
    for policy in (with_keys(None, key), with_keys(None, new), both):
        assert require(old.id, store.signatures(old.id), policy)


def test_a_good_signature_is_enough_beside_a_bad_one(store: Store, key: Path, tmp_path: Path) -> None:
    other = new_key(tmp_path / "two.pem")
    version = signed(store, 1, key)
    store.sign(version.id, other.id, b"rubbish")
    both = with_keys(None, key, other.private)
    assert require(version.id, store.signatures(version.id), both) == the_good(version, store, other.id)
    assert "is damaged" in refusal(store, version.id, with_keys(None, other.private))


def the_good(version: ModelVersion, store: Store, bad: str) -> str:
    (good,) = store.signatures(version.id).keys() - {bad}
    return good


def test_a_trusted_key_that_cannot_be_used_refuses_everything_and_is_named(
    store: Store, key: Path, tmp_path: Path
) -> None:
    version = signed(store, 1, key)
    gone, rubbish, folder, foreign = (tmp_path / f"{name}.pub" for name in ("gone", "rubbish", "folder", "rsa"))
    rubbish.write_text("ssh-ed25519 AAAA")
    folder.mkdir()
    foreign.write_bytes(
        rsa.generate_private_key(65537, 2048)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    for path, why in (
        (gone, "cannot be read (No such file or directory): put it there, or correct the path"),
        (folder, "cannot be read (Is a directory)"),
        (rubbish, "cannot be used (it is not a public key in PEM): name a .pub file"),
        (foreign, "cannot be used (it is a key of another kind than Ed25519)"),
        (key, "cannot be used (it is a private key, and belongs on no machine that only loads)"),
    ):
        said = refusal(store, version.id, Deploy(trusted_keys=(f"{key}.pub", str(path))))
        assert f"{path} {why}" in said


def test_a_private_key_that_cannot_be_used_is_named(key: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked.pem"
    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    for path, why in (
        (tmp_path / "gone.pem", "cannot be read (No such file or directory)"),
        (Path(f"{key}.pub"), "cannot be used (it is not a private key in PEM)"),
        (locked, "cannot be used (it is protected by a password)"),
    ):
        with pytest.raises(SigningError) as caught:
            signer(Deploy(signing_key=str(path)))
        assert f"{path} {why}" in str(caught.value)


# --- keys ----------------------------------------------------------------------------------------------


def test_a_new_key_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = new_key(tmp_path / "k.pem")
    finally:
        os.umask(before)
    assert made.private.stat().st_mode & 0o777 == 0o600
    assert signing.exposed(made.private) is None
    assert b"PRIVATE" not in made.public.read_bytes()
    assert list(signing.trusted(with_keys(None, made.private))) == [made.id]


@pytest.mark.parametrize("there", ["k.pem", "k.pem.pub"])
def test_a_key_is_never_overwritten_and_no_half_is_left(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(SigningError, match=f"{there} is there already and is not overwritten: choose another name"):
        new_key(tmp_path / "k.pem")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_a_private_key_that_others_can_read_is_warned_of(key: Path, caplog: pytest.LogCaptureFixture) -> None:
    signer(with_keys(key))
    assert caplog.records == []
    key.chmod(0o640)
    signer(with_keys(key))
    (warned,) = caplog.records
    assert warned.__dict__["because"] == (
        f"{key} has mode 0640, so that others can use it: `chmod 600 {key}`, or make a new key if they may have"
    )


def test_key_files_are_counted_from_the_folder_of_the_project(tmp_path: Path) -> None:
    config = Config(root=tmp_path, deploy=Deploy(signing_key="k.pem", trusted_keys=("a.pub", "/etc/b.pub")))
    policy = policy_of(config)
    assert policy.signing_key == f"{tmp_path}/k.pem"
    assert policy.trusted_keys == (f"{tmp_path}/a.pub", "/etc/b.pub")
    assert config.deploy.signing_key == "k.pem"
    assert policy_of(Config(root=tmp_path)) == Deploy()


# --- every door --------------------------------------------------------------------------------------


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def doors(root: Path, version: str, policy: Deploy) -> dict[str, Callable[[], object]]:
    """Name every way to load a version."""
    store = Store(root / "store")
    config = Config(root=root, deploy=policy)
    head = deployment(version, generation=1)
    return {
        "rehone.load": lambda: api.load(config, version),
        "service": lambda: follower.load(store, version, policy),
        "preflight": lambda: preflight(store, version, policy),
        "champion": lambda: read_champion(store, head, config).predictor,  # type: ignore[union-attr]
    }


@pytest.mark.parametrize("door", ["rehone.load", "service", "preflight", "champion"])
def test_nothing_of_an_unsigned_version_is_built_at_any_door(
    door: str, store: Store, key: Path, tmp_path: Path
) -> None:
    """A pickle that leaves a mark shows whether anything was built; without keys it is."""
    mark = tmp_path / "mark"
    bomb = pickle.dumps(Bomb(mark))
    version = store.publish(manifest(1), {"preprocessor.joblib": bomb, "model.joblib": bomb})
    guarded = with_keys(None, key, allow_joblib=True)
    said = ""
    try:
        said = str(doors(tmp_path, version.id, guarded)[door]())
    except rehone.errors.RehoneError as error:
        said = str(error)
    assert f"version {version.short} is not loaded: it is not signed" in said
    assert not mark.exists()
    with contextlib.suppress(Exception):
        doors(tmp_path, version.id, Deploy(allow_joblib=True))[door]()
    assert mark.exists()


def test_whoever_unpacks_a_version_asks_for_its_signature_first() -> None:
    for path in SOURCES.rglob("*.py"):
        tree = ast.parse(path.read_text())
        calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        if "artifact.unpack" in calls:
            assert "signing.require" in calls, path


def test_whoever_hands_on_the_policy_has_counted_its_keys_from_the_project() -> None:
    """`config.deploy` holds paths as they stand in rehone.toml, which mean nothing to another process."""
    loading = {"deploy.promote", "deploy.shadow", "deploy.rollback", "Follower"}
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in loading:
                given = [ast.unparse(value) for value in (*node.args, *(k.value for k in node.keywords))]
                assert not [text for text in given if text.endswith("config.deploy")], f"{path}:{node.lineno}"


def test_a_rollback_to_an_unsigned_version_is_refused_before_the_log_is_written(store: Store, key: Path) -> None:
    bad, good = bring(store, 1).version, bring(store, 2).version
    bring(store, 3)
    sign = signer(with_keys(key))
    assert sign is not None
    store.sign(good, *sign(good))
    policy = with_keys(None, key)
    before = store.log()
    with pytest.raises(StoreError) as caught:
        rollback(store, bad, order(store), clock=now, policy=policy)
    assert f"not rolled back: version {bad[:12]} is not loaded: it is not signed" in str(caught.value)
    assert str(caught.value).endswith(f"confirmed versions that are whole and signed: {good[:12]}")
    assert store.log() == before
    assert rollback(store, None, order(store), clock=now, policy=policy).version == good
    assert rollback(store, "none", order(store), clock=now, policy=policy).version is None


def test_a_promotion_of_an_unsigned_version_writes_nothing(store: Store, key: Path) -> None:
    version = publish(store, 1)
    done = promote(store, version.id, order(store), with_keys(None, key, service="none"), clock=now)
    assert not done.confirmed
    assert "it is not signed" in done.sentence
    assert store.log() == ()


# --- without keys, without the library -----------------------------------------------------------------


def python(code: str, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, check=False, timeout=100
    )


def test_without_keys_the_library_is_neither_imported_nor_needed(made: Path) -> None:
    """The project itself was made by a run that could not import it."""
    code = (
        "import sys\n"
        "sys.modules['cryptography'] = None\n"
        "from rehone import api, load\n"
        "from rehone.cli import main\n"
        "load(sys.argv[1]), api.status(sys.argv[1]), main(['keys', '--help'])\n"
        "print(api.rollback(sys.argv[1], to='none').version)\n"
    )
    done = python(code, made)
    assert done.stdout.splitlines()[-1:] == ["None"], done.stderr


def test_keys_without_the_library_are_refused_with_the_line_that_installs_it(store: Store, key: Path) -> None:
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from rehone.config import Deploy\n"
        "from rehone.signing import require, signer, SigningError\n"
        "for ask in (lambda: signer(Deploy(signing_key=sys.argv[1])),\n"
        "            lambda: require('0' * 64, {}, Deploy(trusted_keys=(sys.argv[1],)))):\n"
        "    try: ask()\n"
        "    except SigningError as error: print(error)\n"
    )
    lines = python(code, key).stdout.splitlines()
    assert len(lines) == 2
    assert all(line.endswith('pip install "rehone[signing]"') for line in lines)


# --- a project, from the command line ------------------------------------------------------------------


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a project with an unsigned champion, once, where signatures are out of reach."""
    project = Project(tmp_path_factory.mktemp("first"))
    project.configure()
    project.feed(0, 74)
    code = (
        "import sys\n"
        "sys.modules['cryptography'] = None\n"
        "from rehone import run_pipeline\n"
        "print(run_pipeline(sys.argv[1], as_of='2026-03-12')['status'])\n"
    )
    done = python(code, project.root)
    assert done.stdout == "deployed\n", done.stderr
    return project.root


@pytest.fixture
def made(first: Path, tmp_path: Path) -> Path:
    """Return a copy of that project."""
    return Path(shutil.copytree(first, tmp_path / "project", symlinks=True))


KEYS = {"signing_key": "signing.pem", "trusted_keys": ["signing.pem.pub"]}


def run(root: Path, day: int) -> Any:
    return Project(root).run(day, force=True)


def test_from_a_first_key_to_a_signed_champion_on_the_command_line(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "new", "-p", str(made)]) == 0
    said = capsys.readouterr().out
    assert '  signing_key = "signing.pem"\n  trusted_keys = ["signing.pem.pub"]\n' in said
    assert main(["keys", "new", "-p", str(made)]) == 2
    assert "is there already and is not overwritten" in capsys.readouterr().err
    assert main(["keys", "sign", "abc", "-p", str(made)]) == 2
    assert "no deploy.signing_key is set" in capsys.readouterr().err

    Project(made).configure(deploy=KEYS)
    config = load_config(made)
    store = Store(config.store_path)
    (champion,) = store.versions()
    assert main(["keys", "check", "-p", str(made)]) == 2
    said = capsys.readouterr().out
    assert "live, signed by nobody; version" in said
    assert max(map(len, said.splitlines())) <= 80
    with pytest.raises(SigningError, match="it is not signed"):
        rehone.load(made)
    record = run(made, 72)
    assert record["status"] == "failed"
    assert "it is not signed" in record.sentence
    assert len(store.versions()) == 1
    assert api.check(made, as_of=DAY).sentence.count("it is not signed") == 1

    assert main(["keys", "sign", champion.short, "-p", str(made)]) == 0
    assert capsys.readouterr().out.startswith(f"version {champion.short} is signed by key ")
    assert main(["keys", "check", "-p", str(made)]) == 0
    assert rehone.load(made).version == champion.id
    assert main(["rollback", "--to", "none", "-p", str(made)]) == 0
    record = run(made, 72)
    assert record["status"] == "deployed", record.sentence
    (signature,) = store.signatures(record.version or "")
    assert [signature in check.detail for check in record.deployment_checks if check.name == "load"] == [True]
    capsys.readouterr()
    assert main(["keys", "check", "--json", "-p", str(made)]) == 0
    assert [check["status"] for check in json.loads(capsys.readouterr().out)] == ["ok", "ok"]
    assert rehone.load(made).version == record.version


@pytest.fixture
def guarded(made: Path) -> Path:
    """Return that project with keys and its champion signed."""
    assert main(["keys", "new", "-p", str(made)]) == 0
    config = Project(made).configure(deploy=KEYS, serve={"port": 0, "poll_seconds": 0.02, "heartbeat_seconds": 0.2})
    assert main(["keys", "sign", Store(config.store_path).versions()[0].id, "-p", str(made)]) == 0
    return made


def test_a_run_fails_closed_when_a_key_is_gone(guarded: Path) -> None:
    store = Store(guarded / "store")
    api.rollback(guarded, to="none")
    before = store.head()
    for name, what in (("signing.pem", "deploy.signing_key"), ("signing.pem.pub", "deploy.trusted_keys")):
        key = guarded / name
        key.rename(guarded / "away")
        record = run(guarded, 72)
        (guarded / "away").rename(key)
        assert (record["status"], endings.of_run(record)) == ("failed", endings.MUST_FIX)
        assert f"{what}: the key {key} cannot be read (No such file or directory)" in record.sentence
    assert len([v for v in store.versions() if not store.signatures(v.id)]) == 0
    assert store.head() == before


def test_the_command_line_names_the_next_key_beside_the_former(
    guarded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(guarded)
    capsys.readouterr()
    assert main(["keys", "new", "keys/2027.pem"]) == 0
    said = capsys.readouterr().out
    assert '  trusted_keys = ["signing.pem.pub", "keys/2027.pem.pub"]\n' in said
    assert (guarded / "keys" / "2027.pem").is_file()
    assert main(["keys", "new", "rehone.toml/2028.pem"]) == 2
    assert "the folder rehone.toml cannot be made (File exists): choose another place" in capsys.readouterr().err


def test_check_warns_of_a_private_key_that_others_can_read_and_ends_with_2_when_a_key_is_gone(
    guarded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (guarded / "signing.pem").chmod(0o644)
    capsys.readouterr()
    assert main(["keys", "check", "-p", str(guarded)]) == 0
    assert "has mode 0644" in " ".join(capsys.readouterr().out.split())
    (guarded / "signing.pem.pub").unlink()
    assert main(["keys", "check", "-p", str(guarded)]) == 2
    assert "signing.pem.pub cannot be read" in " ".join(capsys.readouterr().out.split())


def test_check_ends_with_2_when_the_live_version_cannot_be_read(
    guarded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(guarded / "store")
    write(store.root / "versions" / store.versions()[0].id / "manifest.json", b"other")
    capsys.readouterr()
    assert main(["keys", "check", "-p", str(guarded)]) == 2
    assert "live, not known: the manifest of version" in " ".join(capsys.readouterr().out.split())


def test_a_rollback_by_command_is_refused_before_the_log_is_written(
    guarded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(guarded / "store")
    (champion,) = store.versions()
    assert main(["rollback", "--to", "none", "-p", str(guarded)]) == 0
    signature = the_file(store, champion.id)
    text = signature.read_bytes()
    write(signature, None)
    before = store.log()
    assert main(["rollback", "--to", champion.short, "-p", str(guarded)]) == 2
    assert "not rolled back: version" in capsys.readouterr().err
    assert store.log() == before
    write(signature, text)
    assert main(["rollback", "--to", champion.short, "-p", str(guarded)]) == 0


# --- a real service ---------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(root: Path) -> Iterator[Callable[[], dict[str, Any]]]:
    """Start `rehone serve` elsewhere than in the project, and lend what asks its health page."""
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("rehone")), "serve", "-p", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=root.parent,
    )
    try:
        assert process.stdout
        port = int(process.stdout.readline().strip().rsplit(":", 1)[1])

        def health() -> dict[str, Any]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            with contextlib.closing(connection):
                connection.request("GET", "/health")
                found: dict[str, Any] = json.loads(connection.getresponse().read())
                return found

        yield health
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def until(health: Callable[[], dict[str, Any]], true: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    end = time.monotonic() + 60
    while not true(said := health()):
        assert time.monotonic() < end, said
        time.sleep(0.02)
    return said


def another(store: Store, version: ModelVersion, n: int = 0) -> ModelVersion:
    """Publish the same model under another id, unsigned."""
    return store.publish(replace(version.manifest, run_id=f"another-{n}", files={}), store.read(version.id))


def deployed(store: Store, version: str) -> Deployment:
    head = store.head()
    return store.append(deployment(version), expect_generation=head.generation if head else 0)


def test_a_service_keeps_the_old_version_says_why_and_takes_the_new_one_once_it_is_signed(guarded: Path) -> None:
    store = Store(guarded / "store")
    (old,) = store.versions()
    with serving(guarded) as health:
        said = until(health, lambda h: h["model_loaded"])
        assert said["version"] == old.id
        new = another(store, old)
        deployed(store, new.id)
        said = until(health, lambda h: h["refused"])
        assert (said["version"], said["status"]) == (old.id, "ready")
        assert f"version {new.short} is not loaded: it is not signed" in said["refused"]["because"]
        assert main(["keys", "sign", new.short, "-p", str(guarded)]) == 0
        said = until(health, lambda h: h["version"] == new.id)
        assert said["refused"] is None


def test_a_service_refuses_whatever_a_trusted_key_did_not_sign(guarded: Path, tmp_path: Path) -> None:
    store = Store(guarded / "store")
    (old,) = store.versions()
    copied, tampered, strange, gone = (another(store, old, n) for n in range(4))
    stranger = signer(with_keys(new_key(tmp_path / "stranger.pem").private))
    assert stranger is not None
    ((name, text),) = store.signatures(old.id).items()
    store.sign(copied.id, name, text)
    store.sign(strange.id, *stranger(strange.id))
    assert main(["keys", "sign", tampered.id, gone.id, "-p", str(guarded)]) == 0
    signed = the_file(store, tampered.id).read_bytes()
    write(the_file(store, tampered.id), signed[:-2] + (b"1\n" if signed.endswith(b"0\n") else b"0\n"))
    with serving(guarded) as health:
        until(health, lambda h: h["model_loaded"])
        for version, because in (
            (copied, f"is of another version ({old.short})"),
            (tampered, "does not verify"),
            (strange, "which is not among deploy.trusted_keys"),
            (gone, f"the key {guarded}/signing.pem.pub cannot be read"),
        ):
            if version is gone:
                (guarded / "signing.pem.pub").unlink()
            made = deployed(store, version.id)
            said = until(health, lambda h, made=made: (h["refused"] or {}).get("generation") == made.generation)
            assert because in said["refused"]["because"]
            assert (said["version"], said["generation"]) == (old.id, 1)
