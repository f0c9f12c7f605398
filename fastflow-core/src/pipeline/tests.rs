use std::{num::NonZeroU32, time::Duration};

use super::*;

fn seconds(policy: &RetryPolicy, attempts: &[u32]) -> Vec<Option<u64>> {
    attempts.iter().map(|n| policy.delay(NonZeroU32::new(*n).unwrap()).map(|d| d.as_secs())).collect()
}

#[test]
fn byte_sizes_read_every_spelling_and_refuse_the_rest() {
    let (k, m, g) = (1_u64 << 10, 1_u64 << 20, 1_u64 << 30);
    for (text, bytes) in [
        ("0", 0),
        ("512", 512),
        ("1b", 1),
        ("64k", 64 * k),
        ("64KB", 64 * k),
        ("512m", 512 * m),
        ("512Mi", 512 * m),
        ("512 MiB", 512 * m),
        ("1.5g", g + g / 2),
        ("2GB", 2 * g),
        ("0.5G", g / 2),
        ("1.000000001k", k),
        ("1t", g * k),
        ("9223372036854775807", i64::MAX.unsigned_abs()),
    ] {
        assert_eq!(text.parse::<ByteSize>().unwrap(), ByteSize(bytes), "{text}");
    }
    for text in [
        "",
        "g",
        "-1",
        "1.5",
        "1,5g",
        "1.5.5g",
        ".5g",
        "5.g",
        "1e3",
        "1x",
        "1gbb",
        "0x10",
        "1 2g",
        "+1g",
        "9223372036854775808",
        "9000000t",
        "99999999999999999999",
        "1.0000000001g",
        "١g",
        "1g\0",
    ] {
        assert!(text.parse::<ByteSize>().is_err(), "{text:?}");
    }
    for size in [0, 1, 1023, 1024, 1536 << 20, 5 << 40] {
        assert_eq!(ByteSize(size).to_string().parse::<ByteSize>().unwrap(), ByteSize(size));
    }
}

#[test]
fn cpu_takes_fractions_of_cores_in_range() {
    for (cores, millis) in [(0.01, 10), (0.3333, 333), (1.0, 1000), (2.5, 2500), (10_000.0, 10_000_000)] {
        assert_eq!(CpuMillis::from_cores(cores), Some(CpuMillis(millis)));
    }
    for cores in [0.0, -1.0, 0.004, 10_001.0, f64::NAN, f64::INFINITY] {
        assert_eq!(CpuMillis::from_cores(cores), None, "{cores}");
    }
}

#[test]
fn retries_wait_as_the_policy_says_and_end() {
    let policy = |attempts, strategy| RetryPolicy { attempts, strategy, ..RetryPolicy::default() };
    assert_eq!(seconds(&RetryPolicy::default(), &[1]), [None]);
    assert_eq!(seconds(&policy(2, RetryStrategy::default()), &[1, 2, 3]), [Some(60), Some(60), None]);
    let steps = [Some(60), Some(120), Some(1920), Some(3600), Some(3600), None];
    assert_eq!(
        seconds(&policy(u32::MAX - 1, RetryStrategy::exponential()), &[1, 2, 6, 7, u32::MAX - 1, u32::MAX]),
        steps
    );
    let custom = RetryStrategy::Custom { delays: vec![Seconds(1), Seconds(5)] };
    assert_eq!(seconds(&policy(4, custom), &[1, 2, 3, 4, 5]), [Some(1), Some(5), Some(5), Some(5), None]);
    assert_eq!(seconds(&policy(1, RetryStrategy::Custom { delays: vec![] }), &[1]), [Some(60)]);
    let zero = RetryStrategy::Exponential {
        initial_delay: Seconds(0),
        max_delay: Seconds(10),
        multiplier: f64::MAX,
    };
    assert_eq!(seconds(&policy(9, zero), &[1, 9]), [Some(0), Some(0)]);
}

#[test]
fn names_that_decide_which_code_runs_are_refused() {
    for name in ["A", "DATABASE_URL", "lower", "a.b", "PYTHONUNBUFFERED", "PATHS", "HOME"] {
        assert!(name.parse::<EnvName>().is_ok(), "{name}");
    }
    let long = "X".repeat(256);
    for name in [
        "",
        "=",
        "A=B",
        "A\0",
        "A B",
        "Ä",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "PATH",
        "PYTHONPATH",
        "PYTHONHOME",
        "UV_INDEX_URL",
        "DOCKER_HOST",
        "FASTFLOW_RUN",
        "BASH_ENV",
        "_fastflow_retry_count",
        long.as_str(),
    ] {
        assert!(name.parse::<EnvName>().is_err(), "{name:?}");
    }
    assert!(check_env_value(&"x".repeat(MAX_ENV_VALUE_BYTES)).is_ok());
    assert!(check_env_value(&"x".repeat(MAX_ENV_VALUE_BYTES + 1)).is_err());
    assert!(check_env_value("line\nbreak").is_ok());
    assert!(check_env_value("a\0b").is_err());
}

#[test]
fn moments_are_days_or_instants() {
    let day: Moment = "2026-02-28".parse().unwrap();
    assert_eq!(day.last_instant().to_string(), "2026-02-28T23:59:59.999999999Z");
    for (text, instant) in [
        ("2026-02-28T12:00:00", "2026-02-28T12:00:00Z"),
        ("2026-02-28T12:00:00Z", "2026-02-28T12:00:00Z"),
        ("2026-02-28T12:00:00+01:00", "2026-02-28T11:00:00Z"),
    ] {
        let moment: Moment = text.parse().unwrap();
        assert_eq!(moment.to_string(), instant);
        assert_eq!(moment.to_string().parse::<Moment>().unwrap(), moment);
    }
    for text in ["", "tomorrow", "2026-02-30", "28.02.2026", "2026-02-28T25:00:00", "2026-2-8", "12:00"] {
        assert!(text.parse::<Moment>().is_err(), "{text:?}");
    }
}

#[test]
fn a_stored_definition_reads_back_and_holds_no_webhook_key() {
    let definition = Definition {
        webhook_key: Some(WebhookKey::new("open-sesame")),
        limits: Limits { timeout: Some(Timeout::Unlimited), ..Limits::default() },
        ..Definition::default()
    };
    let json = serde_json::to_string(&definition).unwrap();
    assert!(!json.contains("sesame") && json.contains(r#""timeout":0"#), "{json}");
    let back: Definition = serde_json::from_str(&json).unwrap();
    assert_eq!(back, Definition { webhook_key: None, ..definition.clone() });
    assert_eq!(serde_json::from_str::<Definition>("{}").unwrap(), Definition::default());
    assert!(!format!("{definition:?}").contains("sesame"));
    assert_eq!(definition.limits.timeout.unwrap().duration(), None::<Duration>);
}
