"""The command, from outside: what it prints, where, and with which exit code."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import fastflow
import pytest
from commands import COLUMNS, COMMAND, Commands, environment
from programs import wait_until

PROGRAMS = {
    "ends": "import os, sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(int(os.environ.get('code', '0')))\n",
    "waits": "import pathlib, time\nprint('begun', flush=True)\nwhile not pathlib.Path('/nowhere').exists():\n    time.sleep(0.05)\n",
    "steers": r"print('\x1b[2J\x1b[31mred\x1b[0m \x1b]0;title\x07\x9b5n after')" "\n",
    "many": "for number in range(200_000):\n    print(number)\n",
    "dies": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n",
    "slow": "import time\nwhile True:\n    time.sleep(0.05)\n",
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with pipelines that need no packages."""
    for name, program in PROGRAMS.items():
        folder = tmp_path / "pipelines" / name
        folder.mkdir(parents=True)
        (folder / "main.py").write_text(program)
        settings = {"description": f"It {name}", **({"timeout": 1} if name == "slow" else {})}
        (folder / "pipeline.json").write_text(json.dumps(settings))
    return tmp_path


@pytest.fixture
def command(place: Path) -> Commands:
    """The command in that folder."""
    return Commands(place)


def lines(text: str) -> list[dict[str, object]]:
    """What was printed for programs, an object a line."""
    return [json.loads(line) for line in text.splitlines()]


def errors(text: str) -> list[dict[str, Any]]:
    """What programs are told is wrong."""
    return [json.loads(line)["error"] for line in text.splitlines()]


def test_a_run_is_followed_and_its_streams_and_its_exit_code_come_out(command: Commands) -> None:
    well = command("run", "ends")
    assert (well.returncode, well.stdout) == (0, "out\n"), well.stderr
    assert "err\n" in well.stderr and "SUCCESS ends" in well.stderr
    ill = command("run", "ends", "-p", "code=7")
    assert (ill.returncode, ill.stdout) == (7, "out\n")
    assert "FAILED ends" in ill.stderr and "exit code 7" in ill.stderr
    assert "SUCCESS" not in command("run", "ends", "-q").stderr
    assert command("run", "dies").returncode == 128 + signal.SIGTERM
    assert command("run", "slow").returncode == 124


def test_what_cannot_be_done_has_an_exit_code_and_a_reason(command: Commands, tmp_path: Path) -> None:
    nothing = command("runs")
    assert nothing.returncode == 3 and "nothing has run here yet" in nothing.stderr
    near = command("run", "endz")
    assert near.returncode == 125 and "did you mean: ends" in near.stderr
    typo = command("cancl", "ends")
    assert typo.returncode == 2 and "'cancel'" in typo.stderr
    assert command("run", "ends", "-p", "code").returncode == 2
    elsewhere = Commands(tmp_path, "-C", "nowhere")("list")
    assert elsewhere.returncode == 3 and "fastflow init" in elsewhere.stderr
    told = command("logs", "latest", "--json")
    assert told.returncode == 3 and json.loads(told.stderr)["error"]["kind"] == "not_found"
    version = command("--version")
    assert (version.returncode, version.stdout) == (0, f"fastflow {fastflow.__version__}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cancl", "--json", "ends"), "tip: a similar subcommand exists: 'cancel'"),
        (("run", "ends", "-p", "code", "--json"), "KEY=VALUE"),
        (("run", "--json"), "NAME|FILE.py"),
        (("--json",), "subcommand"),
        (("--json", "schedule"), "--help"),
    ],
)
def test_words_that_nobody_understands_are_told_to_programs(
    command: Commands, words: tuple[str, ...], said: str
) -> None:
    told = command(*words)
    [error] = errors(told.stderr)
    assert (told.returncode, told.stdout, error["kind"], error["context"]) == (2, "", "invalid", {})
    assert said in error["message"] and "Usage" not in error["message"] and not error["message"].startswith("error")


def test_help_and_words_of_a_file_are_for_people_with_json_too(command: Commands) -> None:
    shown = command("--help", "--json")
    assert (shown.returncode, shown.stderr) == (0, "") and "Usage:" in shown.stdout
    assert command("runs", "--", "--json").stderr.startswith("error: ")


def test_an_answer_that_cannot_be_written_is_not_the_end_of_the_program(command: Commands, place: Path) -> None:
    assert command("run", "ends").returncode == 0
    with open("/dev/full", "w") as full:
        codes = {
            words[0]: subprocess.run(
                [*COMMAND, *words], cwd=place, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True
            )
            for words in (("run", "ends"), ("rerun", "latest", "--json"), ("runs",))
        }
    assert {name: done.returncode for name, done in codes.items()} == {"run": 125, "rerun": 125, "runs": 5}
    assert "the output cannot be written" in codes["run"].stderr
    [error] = errors(codes["rerun"].stderr)
    assert error["kind"] == "storage_full"


def test_what_is_called_as_no_pipeline_can_be_is_told(command: Commands, place: Path) -> None:
    for name in ("ünï", "has space"):
        folder = place / "pipelines" / name
        folder.mkdir()
        (folder / "main.py").write_text("")
    listed = command("list")
    assert listed.returncode == 0
    below = listed.stdout.splitlines()[-2:]
    assert all("this name cannot be a pipeline's" in line for line in below)
    assert "has space: " in below[0] and "ünï: " in below[1]
    told = command("list", "--json")
    assert sorted(pipeline["name"] for pipeline in json.loads(told.stdout)) == sorted(PROGRAMS)
    warnings = [json.loads(line)["warning"] for line in told.stderr.splitlines()]
    assert [(each["severity"], each["file"]) for each in warnings] == [("warning", "has space"), ("warning", "ünï")]
    looked_at = [check for check in command.json("doctor") if check["name"] == "source"]
    assert [check["level"] for check in looked_at] == ["warn", "warn"]
    assert all(name in check["message"] for name, check in zip(("has space", "ünï"), looked_at))


def test_answers_for_programs_have_the_fields_of_the_classes(command: Commands) -> None:
    ran = command("run", "ends", "-p", "code=3", "--json")
    assert ran.returncode == 3 and ran.stderr == ""
    told = lines(ran.stdout)
    assert [each["type"] for each in told if each["type"] == "run"] == ["run", "run"]
    written = [each for each in told if each["type"] == "line" and each["stream"] in ("stdout", "stderr")]
    assert {(each["stream"], each["text"]) for each in written} == {("stdout", "out"), ("stderr", "err")}
    [run] = command.json("runs")
    assert set(run) == {field.name for field in dataclasses.fields(fastflow.Run)} - {"flow"}
    assert (run["status"], run["parameters"]) == ("FAILED", {"code": "3"})
    assert run["failure"] == {"kind": "exit_code", "message": "exit code 3", "exit_code": 3, "signal": None}
    log = lines(command("logs", "latest", "--stream", "stdout", "--json").stdout)
    assert [each["text"] for each in log] == ["out"]
    public = {name for name in dir(fastflow.LogLine) if not name.startswith("_")}
    assert set(log[0]) == public - {"raw"}
    ids = [pipeline["name"] for pipeline in command.json("list")]
    assert ids == sorted(PROGRAMS)


def test_a_log_is_read_on_from_a_position_by_time_and_by_stream(command: Commands) -> None:
    command("run", "ends")
    log = lines(command("logs", "ends@latest", "--json").stdout)
    first = next(index for index, line in enumerate(log) if line["stream"] == "stdout")
    rest = lines(command("logs", "latest", "--after", str(log[first]["position"]), "--json").stdout)
    assert rest == log[first + 1 :]
    assert command("logs", "latest", "--since", "2030-01-01T00:00:00Z").stdout == ""
    assert command("logs", "latest", "--since", "1h", "--stream", "stdout").stdout == "out\n"
    assert command("logs", "latest", "--since", "nonsense").returncode == 2


def test_a_run_is_meant_by_a_part_of_its_id(command: Commands) -> None:
    [one, other] = [command.json("run", "ends", "--detach")["id"] for _ in range(2)]
    for part in (one, one[-8:], one.upper()[-8:]):
        found = command("explain", part)
        assert found.returncode == 0 and one in found.stdout
    assert other in command("explain", "latest").stdout
    both = command("explain", os.path.commonprefix([one, other]))
    assert both.returncode == 2 and one in both.stderr and other in both.stderr
    assert command("explain", "zzzz").returncode == 2
    assert command("explain", "many@latest").returncode == 3
    missing = command("explain", "mani@latest")
    assert missing.returncode == 3 and "did you mean: many" in missing.stderr


def test_ctrl_c_lets_the_run_go_on_and_says_how_to_end_it(command: Commands) -> None:
    with command.terminal("run", "waits") as terminal:
        terminal.read_until("begun")
        terminal.press("\x03")
        assert terminal.wait() == 130, terminal.seen
    [run] = command.json("runs")
    assert run["status"] == "RUNNING"
    assert f"fastflow cancel {run['id']}" in terminal.seen
    so_far = command("logs", "latest", "--stream", "stdout")
    assert (so_far.returncode, so_far.stdout) == (0, "begun\n")
    ended = command("cancel", run["id"])
    assert (ended.returncode, ended.stdout) == (0, f"CANCELLED waits {run['id']}\n")
    assert command("cancel", run["id"]).returncode == 4
    assert command("rerun", "waits@latest", "--detach").returncode == 0
    assert [each["status"] for each in command.json("cancel", "latest")] == ["CANCELLED"]


def test_python_has_its_handler_of_ctrl_c_again(place: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from fastflow.__main__ import main\n"
        "sys.argv = ['fastflow', 'schedule', 'explain', '@daily']\n"
        "before = signal.getsignal(signal.SIGINT)\n"
        "for _ in range(2):\n"
        "    assert main() == 0\n"
        "assert signal.getsignal(signal.SIGINT) is before\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    done = subprocess.run(
        [COMMAND[0], "-c", program], cwd=place, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and done.stdout.endswith("interrupted\n"), done.stderr


def test_whoever_reads_no_more_ends_it_quietly(command: Commands, place: Path) -> None:
    assert command("run", "many", "--detach").returncode == 0
    follow = [*COMMAND, "logs", "-f", "latest"]
    with subprocess.Popen(
        follow, cwd=place, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.wait(90) == 128 + signal.SIGPIPE
        assert b"fastflow:" not in process.stderr.read()


def test_others_text_does_not_steer_the_terminal(command: Commands) -> None:
    plain = command("run", "steers")
    assert plain.stdout == "red 5n after\n"
    coloured = command("logs", "latest", "--stream", "stdout", "--color", "always")
    assert coloured.stdout == "\x1b[31mred\x1b[0m 5n after\x1b[0m\n"
    told = command("logs", "latest", "--json").stdout
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", told)
    assert any(line["text"] == "\x1b[2J\x1b[31mred\x1b[0m \x1b]0;title\x07\x9b5n after" for line in lines(told))


def test_colours_are_for_terminals_and_tables_fit_them(command: Commands) -> None:
    command("run", "ends")
    assert "\x1b" not in command("runs").stdout
    assert "\x1b" in command("runs", "--color", "always").stdout
    shown: dict[str, str] = {}
    for name, words in {"always": (), "never": ("--color", "never")}.items():
        with command.terminal("list", *words) as terminal:
            assert terminal.wait() == 0
            shown[name] = terminal.seen
    assert "\x1b[" in shown["always"] and "\x1b" not in shown["never"]
    assert max(len(line) for line in shown["never"].splitlines()) <= COLUMNS
    assert "\x1b" not in command("--help").stdout
    assert "\x1b" in command("--help", "--color=always").stdout


@pytest.mark.parametrize("template", ["minimal", "requirements", "script", "schedule"])
def test_a_pipeline_from_a_template_runs(tmp_path: Path, template: str) -> None:
    command = Commands(tmp_path)
    made = command("init", "first", "--template", template)
    assert made.returncode == 0, made.stderr
    assert all((tmp_path / path).is_file() for path in made.stdout.splitlines())
    before = {path: path.read_bytes() for path in (tmp_path / "pipelines").rglob("*") if path.is_file()}
    for other in ("minimal", "script"):
        assert command("init", "first", "--template", other).returncode == 4
    assert {path: path.read_bytes() for path in (tmp_path / "pipelines").rglob("*") if path.is_file()} == before
    [pipeline] = command.json("list")
    assert pipeline["name"] == "first" and pipeline["diagnostics"] == []
    ran = command("run", "first")
    assert ran.returncode == 0 and ran.stdout, ran.stderr
    scheduled = command.json("schedule", "next")
    assert bool(scheduled) == (template == "schedule")


def test_a_file_runs_without_any_pipelines(tmp_path: Path) -> None:
    (tmp_path / "my etl.py").write_text("import os, sys\nprint('a file', os.environ['n'])\nsys.exit(9)\n")
    command = Commands(tmp_path)
    done = command("run", "./my etl.py", "-p", "n=1")
    assert (done.returncode, done.stdout) == (9, "a file 1\n"), done.stderr
    [run] = command.json("runs")
    assert run["pipeline"] == "code.my_etl"
    assert command("run", "missing.py").returncode == 125


def test_schedules_are_listed_foretold_and_explained(command: Commands, place: Path) -> None:
    settings = {"schedule_cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    (place / "pipelines" / "ends" / "pipeline.json").write_text(json.dumps(settings))
    [schedule] = command.json("schedule", "list")
    assert (schedule["cron"], schedule["timezone"], schedule["enabled"]) == ("30 2 * * *", "Europe/Berlin", True)
    due = command.json("schedule", "next", schedule["id"], "-n", "3")
    assert len(due) == 3 and due[0]["at"] == schedule["next_at"]
    assert len(command.json("schedule", "next", "--within", "2d")) == 2
    refused = command("schedule", "disable", schedule["id"])
    assert refused.returncode == 2 and "files" in refused.stderr
    explained = command("schedule", "explain", "30 2 * * *", "--timezone", "Europe/Berlin")
    assert "At 02:30" in explained.stdout and "does not exist: runs at 03:00" in explained.stdout
    assert command("schedule", "explain", "30 2 * * * * *").returncode == 2


def test_the_doctor_says_what_is_wrong(command: Commands, place: Path) -> None:
    checks = {check["name"]: check for check in command.json("doctor")}
    assert {"data directory", "disk space", "pipelines", "store", "uv", "python", "process executor"} <= set(checks)
    assert {"limits", "docker", "podman", "clock"} <= set(checks)
    assert not (place / ".fastflow").exists()
    blocked = place / "a file"
    blocked.write_text("")
    ill = Commands(place, "--data-dir", str(blocked), "--uv", "/nowhere/uv")("doctor")
    assert ill.returncode == 1
    assert re.search(r"fail +data directory", ill.stdout) and re.search(r"fail +uv", ill.stdout)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_the_shell(command: Commands, shell: str, tmp_path: Path) -> None:
    script = command("completion", shell)
    assert script.returncode == 0 and "fastflow" in script.stdout and "rerun" in script.stdout
    if shutil.which(shell) is None:
        pytest.skip(f"completion: {shell} is not installed")
    check = tmp_path / f"completion.{shell}"
    check.write_text(script.stdout)
    read = [shell, "--no-execute" if shell == "fish" else "-n", str(check)]
    assert subprocess.run(read, capture_output=True, timeout=60).returncode == 0


def test_bash_completes_with_the_script(command: Commands, tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(command("completion", "bash").stdout)
    ask = (
        f"source '{script}'; COMP_WORDS=(fastflow sched); COMP_CWORD=1; _fastflow fastflow sched fastflow; "
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=60)
    assert done.stdout == "schedule\n", done.stderr


def test_the_place_is_said_in_the_environment_or_found(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = Commands(tmp_path_factory.mktemp("elsewhere"))
    env = {"FASTFLOW_PIPELINES": str(place / "pipelines"), "FASTFLOW_DATA_DIR": str(place / "data of mine")}
    assert elsewhere("run", "ends", env=env).returncode == 0
    assert (place / "data of mine" / "fastflow.db").exists()
    inside = Commands(place / "pipelines")
    assert [pipeline["name"] for pipeline in inside.json("list")] == sorted(PROGRAMS)


def test_a_folder_has_one_data_directory_however_it_is_written(command: Commands, place: Path) -> None:
    [run] = [command.json("run", "ends", "--detach")["id"]]
    inside = place / "pipelines"
    for words in ((), ("-C", "."), ("-C", "../pipelines"), ("-C", "ends/.."), ("-C", str(inside) + "/")):
        assert [each["id"] for each in Commands(inside, *words).json("runs")] == [run], words
    assert not (inside / ".fastflow").exists()


def test_runs_that_nobody_sees_to_are_listed_with_a_warning(command: Commands, place: Path) -> None:
    assert command("run", "ends").returncode == 0
    assert command("runs").stderr == "", "nothing is open"
    with fastflow.open(place / "pipelines", hosting="never") as guest:
        run = guest.run("ends")
        left = command("runs")
        assert left.returncode == 0 and "nobody hosts" in left.stderr and "`fastflow host`" in left.stderr
        assert command("runs", "--status", "success").stderr == "", "nothing that is shown is open"
        [warning] = [each["warning"] for each in lines(command("runs", "--json").stderr)]
        assert warning["severity"] == "warning" and warning["text"].startswith("nobody hosts"), "programs are told, too"
        with fastflow.open(place / "pipelines") as host:
            assert guest.runs.wait(run.id, timeout=60).status is fastflow.Status.SUCCESS
            open_one = host.run("ends", delay=3600)
            assert command("runs").stderr == "", "somebody hosts"
            open_one.cancel()


def test_the_usual_data_directory_is_not_shared_with_a_host_of_other_pipelines(
    command: Commands, place: Path
) -> None:
    shutil.copytree(place / "pipelines", place / "staging")
    staging = Commands(place, "-C", "staging")
    with fastflow.open(place / "pipelines") as flow:
        run = flow.run("waits")
        assert next(line for line in run.logs() if line.text == "begun")
        codes = {"host": 4, "list": 4, "schedule": 4, "run": 125}
        for words in (("host",), ("list",), ("schedule", "list"), ("run", "ends")):
            refused = staging(*words)
            assert refused.returncode == codes[words[0]], words
            for said in (f"its_source: {place}/pipelines", f"own_source: {place}/staging", f"{place}/.fastflow"):
                assert said in refused.stderr, words
            assert "--data-dir" in refused.stderr
        looked_at = staging("doctor", "--json")
        [host] = [check for check in json.loads(looked_at.stdout) if check["name"] == "host"]
        assert (looked_at.returncode, host["level"]) == (1, "fail") and str(place / "staging") in host["message"]
        [host] = [check for check in command.json("doctor") if check["name"] == "host"]
        assert host["level"] == "ok" and host["message"].endswith(f" for {place}/pipelines")
        # Who named it knows what it does; and runs are read and ended beside any host.
        named = Commands(place, "-C", "staging", "--data-dir", ".fastflow")
        assert {each["name"] for each in named.json("list")} >= set(PROGRAMS)
        for asks in (named, staging, Commands(place, "-C", "nowhere")):
            assert [each["id"] for each in asks.json("runs")] == [str(run.id)]
        for words in (("logs", "latest"), ("explain", "latest")):
            assert staging(*words).returncode == 0, words
        assert staging("cancel", str(run.id)).returncode == 0


def test_a_file_that_runs_without_pipelines_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text(PROGRAMS["waits"])
    command = Commands(tmp_path)
    with command.terminal("run", "waits.py") as terminal:
        terminal.read_until("begun")
        [run] = command.json("runs")
        assert command("init", "first").returncode == 0
        with fastflow.open(tmp_path / "pipelines") as flow:
            assert flow.run("first").wait(timeout=60).status is fastflow.Status.SUCCESS
        assert command("cancel", run["id"]).returncode == 0
        assert terminal.wait() == 143


def test_a_file_runs_beside_a_host_of_pipelines_where_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "says.py").write_text("print('said')\n")
    command = Commands(tmp_path)
    assert command("run", "says.py").returncode == 0
    assert command("-C", "staging", "init", "first").returncode == 0
    with fastflow.open(tmp_path / "staging"):
        done = command("run", "says.py")
        assert (done.returncode, done.stdout) == (0, "said\n"), done.stderr


def test_a_host_whose_folder_was_renamed_is_asked_as_before(command: Commands, place: Path) -> None:
    with fastflow.open(place / "pipelines"):
        (place / "pipelines").rename(place / "flows")
        renamed = Commands(place, "-C", "flows")
        done = renamed("run", "ends", "-p", "code=5")
        assert done.returncode == 5, done.stderr
        assert renamed("list").returncode == 0
        [host] = [check for check in renamed.json("doctor") if check["name"] == "host"]
        assert host["level"] == "ok", host


def test_a_host_that_could_not_say_who_it_is_keeps_nobody_out(command: Commands, place: Path) -> None:
    """As on a full disk."""
    with fastflow.open(place / "pipelines"):
        os.truncate(place / ".fastflow" / "fastflow.db.lock", 0)
        assert command("run", "ends", "-p", "code=5").returncode == 5
        detached = command.json("run", "ends", "--detach")
        done = command("logs", "--follow", detached["id"])
        assert (done.returncode, done.stdout) == (0, "out\n"), done.stderr
        assert command("list").returncode == 0


def test_a_folder_without_a_place_beside_it_needs_a_data_directory(command: Commands, place: Path) -> None:
    refused = command("-C", "/", "list")
    assert refused.returncode == 2 and "--data-dir" in refused.stderr
    assert command("-C", "/", "--data-dir", str(place / "data"), "doctor").returncode == 0
    for words in (("-C", "", "list"), ("--data-dir", "", "list")):
        assert command(*words).returncode == 2
    assert command("run", "ends", env={"FASTFLOW_DATA_DIR": ""}).returncode == 2
    assert not (place / "fastflow.db").exists()


def test_an_application_hosts_while_the_command_reads_and_asks(command: Commands, place: Path) -> None:
    with fastflow.open(place / "pipelines") as flow:
        run = flow.run("waits")
        assert next(line for line in run.logs() if line.text == "begun")
        [seen] = command.json("runs")
        assert (seen["id"], seen["status"]) == (str(run.id), "RUNNING")
        with command.terminal("logs", "-f", "latest") as terminal:
            terminal.read_until("begun")
            assert command("cancel", str(run.id)).returncode == 0
            assert terminal.wait() == 0
        assert run.wait().status is fastflow.Status.CANCELLED
        assert command("run", "ends", "-p", "code=5").returncode == 5
        assert [other.status for other in flow.runs.list(limit=1)] == [fastflow.Status.FAILED]
        [host] = [check for check in command.json("doctor") if check["name"] == "host"]
        assert f"process {os.getpid()} since" in host["message"]
        detached = command.json("run", "waits", "--detach")
        assert next(line for line in flow.runs.logs(detached["id"]) if line.text == "begun")
        assert command.json("schedule", "next") == []
    assert command("cancel", detached["id"]).returncode == 0


def test_an_open_run_of_an_executor_that_is_not_here_can_be_cancelled(command: Commands, place: Path) -> None:
    with fastflow.open(place / "pipelines", executors={"mine": fastflow.Process()}) as flow:
        queued = flow.run("ends", delay=3600)
        running = flow.run("waits")
        assert next(line for line in running.logs() if line.text == "begun")
    locked = command("run", "ends")
    assert locked.returncode == 125 and "cancel the run" in locked.stderr, locked.stderr
    ended = command("cancel", str(queued.id))
    assert (ended.returncode, ended.stdout) == (0, f"CANCELLED ends {queued.id}\n"), ended.stderr
    asked = command("cancel", str(running.id), "--json")
    assert (asked.returncode, asked.stdout) == (5, "[]\n"), asked.stderr
    assert [each["context"] for each in errors(asked.stderr)] == [{"run": str(running.id)}]
    with fastflow.open(place / "pipelines", executors={"mine": fastflow.Process()}) as flow:
        assert flow.runs.wait(running.id, timeout=60).status is fastflow.Status.CANCELLED
    assert command("run", "ends").returncode == 0


def test_each_run_that_cannot_be_cancelled_is_told_to_programs(command: Commands) -> None:
    assert command("run", "ends").returncode == 0
    done = command("cancel", "latest", "0000", "?", "--json")
    assert [each["kind"] for each in errors(done.stderr)] == ["conflict", "not_found", "invalid"]
    assert (done.returncode, done.stdout) == (2, "[]\n")


def test_no_pipeline_is_made_that_could_never_run(tmp_path: Path) -> None:
    for name in ("code.mine", "Code.mine"):
        refused = Commands(tmp_path)("init", name)
        assert refused.returncode == 2 and name in refused.stderr
    assert not (tmp_path / "pipelines").exists()


def test_a_host_with_stored_secrets_is_given_their_master_key(command: Commands, place: Path) -> None:
    key = place / "keys" / "master.key"
    fastflow.generate_master_key(key)
    with fastflow.open(place / "pipelines", master_key=fastflow.MasterKeyFile(key)) as flow:
        flow.secrets.set("PASSWORD", "a secret of some length")
    without = command("run", "ends")
    assert without.returncode == 125 and "key" in without.stderr
    assert command("run", "ends", env={"FASTFLOW_MASTER_KEY_FILE": str(key)}).returncode == 0
    # What only reads needs none.
    assert len(command.json("runs")) == 1


def test_the_command_hosts_until_ctrl_c(command: Commands) -> None:
    with command.terminal("host") as terminal:
        terminal.read_until("Ctrl-C")
        assert command("run", "ends").returncode == 0
        terminal.read_until("SUCCESS")
        terminal.press("\x03")
        assert terminal.wait() == 0, terminal.seen


def test_the_second_ctrl_c_ends_it_whatever_it_does(command: Commands, place: Path) -> None:
    with subprocess.Popen([*COMMAND, "run", "many"], cwd=place, env=environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"0\n"
        # Nobody reads on, and the command waits for room in the pipe.
        process.send_signal(signal.SIGINT)
        wait_until(lambda: _default_handles_interrupts(process.pid), "the first one is heard")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT


def _default_handles_interrupts(pid: int) -> bool:
    """Whether the process has no handler for Ctrl-C, by the kernel's word."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1]
    return not int(caught, 16) >> (signal.SIGINT - 1) & 1
