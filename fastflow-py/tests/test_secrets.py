"""Secrets: what goes in reaches the programs that name it, and nothing else shows it."""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from pathlib import Path

import fastflow
import pytest
from fastflow import SecretScope, Status

VALUE = "correct-horse-battery-staple"


@pytest.fixture
def key(tmp_path: Path) -> fastflow.MasterKeyFile:
    """A master key in a file."""
    path = tmp_path / "keys" / "master.key"
    fastflow.generate_master_key(path)
    return fastflow.MasterKeyFile(path)


@pytest.fixture
def wanting(tmp_path: Path) -> Path:
    """A folder with a pipeline that wants TOKEN, and prints how long it is, its end, and itself."""
    place = tmp_path / "pipelines" / "wants"
    place.mkdir(parents=True)
    (place / "main.py").write_text("import os; t = os.environ['TOKEN']; print(len(t), t[-6:]); print(t)")
    (place / "pipeline.json").write_text('{"secrets": ["TOKEN"]}')
    return tmp_path / "pipelines"


def printed(run: fastflow.Run) -> list[str]:
    """What the program of a run wrote."""
    return [line.text for line in run.logs() if line.stream == "stdout"]


def test_a_new_key_is_for_its_owner_alone_and_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "master.key"
    id = fastflow.generate_master_key(path)
    assert len(id) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = path.read_text()
    with pytest.raises(fastflow.AlreadyExistsError):
        fastflow.generate_master_key(path)
    assert path.read_text() == written
    assert len(base64.b64decode(written)) == 32


def test_a_secret_reaches_its_program_and_is_masked_in_what_it_prints(
    wanting: Path, data_dir: Path, key: fastflow.MasterKeyFile
) -> None:
    with fastflow.open(wanting, data_dir=data_dir, master_key=key) as flow:
        assert flow.secrets.set("TOKEN", VALUE) == fastflow.SetSecret(version=1, is_masked=True)
        run = flow.run("wants").wait(timeout=60)
        assert run.status is Status.SUCCESS
        lines = printed(run)
        assert lines[0] == f"{len(VALUE)} staple"
        assert VALUE not in "".join(lines)
        (info,) = flow.secrets.list()
        assert (info.last_used_by, info.parameter, info.is_newest) == (run.id, None, True)
        assert VALUE not in repr(info)
    for path in data_dir.rglob("*"):
        if path.is_file():
            assert VALUE.encode() not in path.read_bytes(), path


def test_values_are_set_versioned_revealed_and_removed(
    pipelines: Path, data_dir: Path, key: fastflow.MasterKeyFile
) -> None:
    etl = SecretScope(pipeline="etl")
    with fastflow.open(pipelines, data_dir=data_dir, master_key=key) as flow:
        flow.secrets.set("TOKEN", "first-of-two")
        assert flow.secrets.set("TOKEN", VALUE).version == 2
        assert not flow.secrets.set("TOKEN", "pin", scope=etl).is_masked
        flow.secrets.set_parameter("REGION", "eu", scope=SecretScope(schedule="etl@nightly"))
        assert flow.secrets.reveal("TOKEN") == VALUE
        assert flow.secrets.reveal("TOKEN", scope=etl) == "pin"
        found = {(str(info.scope), info.name): info for info in flow.secrets.list()}
        assert set(found) == {("global", "TOKEN"), ("pipeline:etl", "TOKEN"), ("schedule:etl@nightly", "REGION")}
        assert found["schedule:etl@nightly", "REGION"].parameter == "eu"
        assert [info.scope for info in flow.secrets.list(scope=etl)] == [etl]
        newest, oldest = flow.secrets.versions("TOKEN")
        assert (newest.version, newest.ended_at, newest.is_sealed) == (2, None, True)
        assert oldest.version == 1 and oldest.ended_at is not None
        flow.secrets.remove("TOKEN", scope=etl)
        for gone in (flow.secrets.reveal, flow.secrets.remove):
            with pytest.raises(fastflow.NotFoundError):
                gone("TOKEN", scope=etl)
        with pytest.raises(fastflow.InvalidError):
            flow.secrets.set("../TOKEN", VALUE)


def test_a_long_list_is_read_in_pages(pipelines: Path, data_dir: Path) -> None:
    with fastflow.open(pipelines, data_dir=data_dir) as flow:
        for number in range(1001):
            flow.secrets.set_parameter(f"P{number:04}", str(number))
        names = [info.name for info in flow.secrets.list()]
        assert names == [f"P{number:04}" for number in range(1001)]


def test_without_a_key_nothing_is_sealed_and_the_message_says_so(pipelines: Path, data_dir: Path) -> None:
    with fastflow.open(pipelines, data_dir=data_dir) as flow:
        with pytest.raises(fastflow.InvalidError, match="master key") as refused:
            flow.secrets.set("TOKEN", VALUE)
        assert VALUE not in str(refused.value)


def test_a_rotation_puts_everything_under_the_new_key(tmp_path: Path, pipelines: Path, data_dir: Path) -> None:
    old, new = tmp_path / "old.key", tmp_path / "new.key"
    old_id, new_id = fastflow.generate_master_key(old), fastflow.generate_master_key(new)
    with fastflow.open(pipelines, data_dir=data_dir, master_key=old.read_text()) as flow:
        flow.secrets.set("TOKEN", VALUE)
    raw = base64.b64decode(new.read_text())
    keys = [fastflow.MasterKeyFile(old)]
    with fastflow.open(pipelines, data_dir=data_dir, master_key=raw, older_master_keys=keys) as flow:
        uses = {use.key: (use.values, use.is_there, use.seals) for use in flow.secrets.keys()}
        assert uses == {old_id: (1, True, False), new_id: (0, True, True)}
        rotation = flow.secrets.rotate()
        assert (rotation.resealed, dict(rotation.values_by_key), rotation.unreadable) == (1, {new_id: 1}, ())
    with fastflow.open(pipelines, data_dir=data_dir, master_key=fastflow.MasterKeyFile(new)) as flow:
        assert flow.secrets.reveal("TOKEN") == VALUE


def test_keys_come_from_variables_and_programs(
    tmp_path: Path, pipelines: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "master.key"
    id = fastflow.generate_master_key(path)
    monkeypatch.setenv("THE_KEY", path.read_text().strip())
    monkeypatch.setenv("KEY_PATH", os.fspath(path))
    program = "import os; print(open(os.environ['KEY_PATH']).read())"
    command = fastflow.MasterKeyCommand([sys.executable, "-c", program], inherit=["KEY_PATH"])
    for key in (fastflow.MasterKeyVariable("THE_KEY"), command):
        with fastflow.open(pipelines, data_dir=data_dir, master_key=key) as flow:
            assert [use.key for use in flow.secrets.keys()] == [id]
    silent = fastflow.MasterKeyCommand([sys.executable, "-c", program])
    with pytest.raises(fastflow.UnavailableError):
        fastflow.open(pipelines, data_dir=data_dir, master_key=silent).start()
    path.chmod(0o644)
    with pytest.raises(fastflow.DeniedError, match="chmod 600"):
        fastflow.open(pipelines, data_dir=data_dir, master_key=fastflow.MasterKeyFile(path)).start()


def test_a_sealed_text_is_opened_for_its_pipeline_alone(
    tmp_path: Path, data_dir: Path, key: fastflow.MasterKeyFile
) -> None:
    folder = tmp_path / "sealed"
    for name in ("mine", "other"):
        (folder / name).mkdir(parents=True)
        (folder / name / "main.py").write_text("import os; print(len(os.environ['TOKEN']))")
    with fastflow.open(folder, data_dir=data_dir, master_key=key) as flow:
        text = flow.secrets.seal_text("mine", "TOKEN", VALUE)
        assert VALUE not in text
        for name in ("mine", "other"):
            (folder / name / "pipeline.json").write_text(json.dumps({"encrypted_env": {"TOKEN": text}}))
        flow.source.sync()
        assert printed(flow.run("mine").wait(timeout=60)) == [str(len(VALUE))]
        assert flow.run("other").wait(timeout=60).status is Status.FAILED


def test_what_pipelines_want_is_known(wanting: Path, data_dir: Path, key: fastflow.MasterKeyFile) -> None:
    with fastflow.open(wanting, data_dir=data_dir, master_key=key) as flow:
        (wanted,) = flow.secrets.wanted()
        assert (wanted.pipeline, wanted.variable, wanted.is_missing) == ("wants", "TOKEN", True)
        flow.secrets.set("TOKEN", VALUE, scope=SecretScope(pipeline="wants"))
        (wanted,) = flow.secrets.wanted()
        assert wanted.stored == (SecretScope(pipeline="wants"),) and not wanted.is_missing


def test_other_stores_are_asked_in_their_order(
    tmp_path: Path, wanting: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mounted").mkdir()
    program = "import sys; sys.exit(4) if sys.argv[1] != 'TOKEN' else print('from-a-program')"
    command = fastflow.CommandSecrets([sys.executable, "-c", program, "{name}"], missing_code=4, timeout=30)
    stores: list[fastflow.SecretStore] = [
        fastflow.EnvironmentSecrets("OURS_"),
        fastflow.DirectorySecrets(tmp_path / "mounted"),
        command,
    ]
    with fastflow.open(wanting, data_dir=data_dir, secret_stores=stores) as flow:
        assert printed(flow.run("wants").wait(timeout=60))[0] == f"{len('from-a-program')} rogram"
        (tmp_path / "mounted" / "TOKEN").write_text("from-a-folder\n")
        assert printed(flow.run("wants").wait(timeout=60))[0] == f"{len('from-a-folder')} folder"
        monkeypatch.setenv("OURS_TOKEN", "from-a-variable")
        assert printed(flow.run("wants").wait(timeout=60))[0] == f"{len('from-a-variable')} riable"


def test_a_fernet_key_reads_the_values_of_an_older_version(tmp_path: Path, data_dir: Path) -> None:
    # The token of the specification, for the text `hello`.
    key = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
    token = (
        "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=="
    )
    place = tmp_path / "pipelines" / "old"
    place.mkdir(parents=True)
    (place / "main.py").write_text("import os; print(os.environ['GREETING'][::-1])")
    (place / "pipeline.json").write_text(json.dumps({"encrypted_env": {"GREETING": token}}))
    with fastflow.open(tmp_path / "pipelines", data_dir=data_dir, fernet_key=key) as flow:
        assert printed(flow.run("old").wait(timeout=60)) == ["olleh"]


def test_scopes_have_texts() -> None:
    for text in ("global", "pipeline:etl", "schedule:etl@nightly"):
        assert str(SecretScope.parse(text)) == text
    for text in ("", "pipeline", "everybody", "global:x"):
        with pytest.raises(fastflow.InvalidError):
            SecretScope.parse(text)


async def test_an_async_flow_has_the_same_secrets(
    pipelines: Path, data_dir: Path, key: fastflow.MasterKeyFile
) -> None:
    async with fastflow.open(pipelines, data_dir=data_dir, master_key=key) as flow:
        assert (await flow.secrets.set("TOKEN", VALUE)).version == 1
        assert (await flow.secrets.set_parameter("REGION", "eu")).version == 1
        assert await flow.secrets.reveal("TOKEN") == VALUE
        assert [info.name async for info in flow.secrets.list()] == ["REGION", "TOKEN"]
        assert (await flow.secrets.rotate()).resealed == 0
        assert len(await flow.secrets.keys()) == len(await flow.secrets.versions("TOKEN")) == 1
        assert VALUE not in await flow.secrets.seal_text("etl", "TOKEN", VALUE)
        assert await flow.secrets.wanted() == []
        await flow.secrets.remove("TOKEN")
        with pytest.raises(fastflow.NotFoundError):
            await flow.secrets.remove("TOKEN")
