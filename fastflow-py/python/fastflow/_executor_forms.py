"""The forms in which specs of attempts, handles and ends cross to the native half and back."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from .executor import (
    AttemptRef,
    AttemptSpec,
    Ended,
    ExecutionHandle,
    Exited,
    Limits,
    Lost,
    LostCause,
    StartFailure,
    StartFailureKind,
    StopCause,
)


def spec_of(given: dict[str, Any]) -> AttemptSpec:
    """The spec of an attempt, as the native half gives it."""
    rest: dict[str, Any] = dict(given)
    limits = Limits(**rest.pop("limits"))
    return AttemptSpec(**rest, limits=limits)


def attempt_of(given: dict[str, Any]) -> AttemptRef:
    """What names an attempt, as the native half gives it."""
    rest: dict[str, Any] = dict(given)
    handle = rest.pop("handle")
    return AttemptRef(**rest, handle=None if handle is None else ExecutionHandle(**handle))


def spec_fields(spec: AttemptSpec) -> dict[str, Any]:
    """What the shim needs of a spec."""
    limits = spec.limits
    return {
        "id": spec.id,
        "owner": spec.owner,
        "argv": list(spec.argv),
        "env": dict(spec.env),
        "secret_env": dict(spec.secret_env),
        "secret_files": dict(spec.secret_files),
        "masked_files": list(spec.masked_files),
        "working_dir": spec.working_dir,
        "run_dir": spec.run_dir,
        "limits": {
            "soft_cpu_millis": limits.soft_cpu_millis,
            "soft_memory_bytes": limits.soft_memory_bytes,
            "timeout": None if limits.timeout is None else limits.timeout.total_seconds(),
            "stop_grace": limits.stop_grace.total_seconds(),
            "log_max_bytes": limits.log_max_bytes,
            "log_tail_bytes": limits.log_tail_bytes,
            "usage_interval": limits.usage_interval.total_seconds(),
        },
    }


def handle_json(handle: ExecutionHandle) -> str:
    """A handle as it is stored."""
    return json.dumps(handle_fields(handle))


def handle_fields(handle: ExecutionHandle) -> dict[str, Any]:
    """A handle by its fields."""
    return {"attempt": handle.attempt, "native_id": handle.native_id, "detail": handle.detail}


def failure_fields(failure: StartFailure) -> dict[str, Any]:
    """A failure to start by its fields."""
    return {"kind": failure.kind.value, "message": failure.message}


def ended_fields(ended: Ended) -> dict[str, Any]:
    """An end by its fields."""
    if isinstance(ended, StartFailure):
        return {"is": "not_executed", "failure": failure_fields(ended)}
    if isinstance(ended, Lost):
        return {"is": "lost", "cause": ended.cause.value}
    if not isinstance(ended, Exited):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"`wait` of an execution must not answer {type(ended).__name__}")
    report: dict[str, Any] = {
        "exit": _exit(ended),
        "stopped_by": _cause(ended.stopped_by),
        "started_at": _time(ended.started_at),
        "ended_at": _time(ended.ended_at),
        "duration": _duration(ended.duration),
        "cpu_time": None if ended.cpu_time is None else _duration(ended.cpu_time),
        "peak_memory_bytes": ended.peak_memory_bytes,
        "oom_kills": ended.oom_kills,
        "log": {
            "bytes": ended.log_bytes,
            "dropped_bytes": ended.log_dropped_bytes,
            "complete": ended.log_complete,
            "masked": ended.masked,
        },
    }
    return {"is": "exited", "report": report}


def _exit(ended: Exited) -> Any:
    if ended.out_of_memory:
        return "out_of_memory"
    if ended.signal is not None:
        return {"signal": ended.signal}
    if ended.exit_code is None:
        raise ValueError("the end of a program has an exit code, a signal, or is for want of memory")
    return {"code": ended.exit_code}


def _cause(cause: StopCause | None) -> Any:
    if cause is None or cause in (StopCause.CANCELLED, StopCause.TIMED_OUT):
        return cause and cause.value
    return {"unhealthy": cause.value}


def _time(time: datetime) -> str:
    return time.astimezone(timezone.utc).isoformat()


def _duration(duration: timedelta) -> dict[str, int]:
    micros = duration // timedelta(microseconds=1)
    return {"secs": micros // 1_000_000, "nanos": micros % 1_000_000 * 1000}


def ended_of(text: str) -> Ended:
    """An end, as it is stored."""
    ended = json.loads(text)
    if ended["is"] == "not_executed":
        failure = ended["failure"]
        return StartFailure(kind=StartFailureKind(failure["kind"]), message=failure["message"])
    if ended["is"] == "lost":
        return Lost(LostCause(ended["cause"]))
    report = ended["report"]
    exit_, cause, log = report["exit"], report["stopped_by"], report["log"]
    return Exited(
        exit_code=None if isinstance(exit_, str) else exit_.get("code"),
        signal=None if isinstance(exit_, str) else exit_.get("signal"),
        out_of_memory=exit_ == "out_of_memory",
        stopped_by=None if cause is None else StopCause(cause if isinstance(cause, str) else cause["unhealthy"]),
        started_at=_time_of(report["started_at"]),
        ended_at=_time_of(report["ended_at"]),
        duration=_duration_of(report["duration"]),
        cpu_time=None if report["cpu_time"] is None else _duration_of(report["cpu_time"]),
        peak_memory_bytes=report["peak_memory_bytes"],
        oom_kills=report["oom_kills"],
        log_bytes=log["bytes"],
        log_dropped_bytes=log["dropped_bytes"],
        log_complete=log["complete"],
        masked=log["masked"],
    )


def _time_of(text: str) -> datetime:
    # Before 3.11, the library reads 3 or 6 digits after the point, and no "Z".
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{(fraction + '000000')[:6]}+00:00")


def _duration_of(duration: dict[str, int]) -> timedelta:
    return timedelta(seconds=duration["secs"], microseconds=duration["nanos"] // 1000)
