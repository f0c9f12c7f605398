//! Audits with the real `pip-audit`, which asks a database of vulnerabilities of our own.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fastflow_core::{
    AuditPolicy, SystemClock,
    environment::{
        AuditOutcome, Finding, Package, PackageAuditor as _, PackageOrigin, PipAudit, PipAuditConfig,
        VulnerabilityService,
    },
};

use crate::{
    kit::{Place, count, run, started, until},
    shop::{Server, environment_of, index, query, tools, used, uv_is_missing},
};

/// Answers as <https://google.github.io/osv.dev/post-v1-query/> does: for one version of one package there is a vulnerability.
const OSV: &str = "
import http.server, json, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        if self.path == '/never':
            threading.Event().wait()
        vulnerable = asked['package']['name'] == 'tiny' and asked['version'] == '1.0'
        body = json.dumps({'vulns': [{
            'id': 'PYSEC-2026-1', 'aliases': ['CVE-2026-1'], 'summary': 'tiny is too small',
            'affected': [{'package': {'name': 'tiny', 'ecosystem': 'PyPI'}, 'ranges': [
                {'type': 'ECOSYSTEM', 'events': [{'introduced': '0'}, {'fixed': '2.0'}]}]}],
        }]} if vulnerable else {}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
";

fn config(directory: &Path, program: PathBuf, osv: &str) -> PipAuditConfig {
    let mut config = PipAuditConfig::new(directory.join("audit"));
    config.program = program;
    config.service = VulnerabilityService::Osv { url: Some(osv.to_owned()) };
    config
}

fn auditor(config: PipAuditConfig) -> PipAudit {
    PipAudit::new(config, Arc::new(SystemClock::new()))
}

fn tiny(version: &str) -> [Package; 1] {
    [Package {
        name: "tiny".parse().unwrap(),
        version: version.into(),
        hashes: Vec::new(),
        origin: PackageOrigin::Unknown,
    }]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_of_an_audit_has_its_own_outcome() {
    let Some((dir, bin)) = tools(&["pip-audit"]) else { return };
    let server = Server::start(OSV, dir.path());
    let url = |path: &str| format!("http://127.0.0.1:{}/{path}", server.port);
    let program = bin.join("pip-audit");
    let found = auditor(config(dir.path(), program.clone(), &url("v1/query")));
    let finding = Finding {
        package: "tiny".parse().unwrap(),
        version: "1.0".into(),
        id: "PYSEC-2026-1".into(),
        aliases: vec!["CVE-2026-1".into()],
        fixed_in: vec!["2.0".into()],
        description: "tiny is too small".into(),
    };
    let vulnerable = AuditOutcome::Vulnerable { audited: 1, findings: vec![finding], skipped: Vec::new() };
    assert_eq!(found.audit(&tiny("1.0")).await, vulnerable);
    assert_eq!(found.audit(&tiny("2.0")).await, AuditOutcome::Clean { audited: 1, skipped: Vec::new() });
    let AuditOutcome::Failed { words } = found.audit(&tiny("no-version")).await else { panic!() };
    assert!(words.contains("no package was looked at"), "{words}");
    let [two, mut odd] = [tiny("2.0"), tiny("no-version")].map(|[package]| package);
    odd.name = "odd".parse().unwrap();
    let AuditOutcome::Clean { audited: 1, skipped } = found.audit(&[two, odd]).await else { panic!() };
    assert_eq!(skipped[0].package.as_str(), "odd", "it keeps nobody else from being looked at");

    let unreachable = auditor(config(dir.path(), program.clone(), "http://127.0.0.1:9/v1/query"));
    let AuditOutcome::Failed { words } = unreachable.audit(&tiny("1.0")).await else { panic!() };
    assert!(words.contains("127.0.0.1") && words.len() <= AuditOutcome::WORDS_MAX_BYTES, "{words}");

    let mut slow = config(dir.path(), program, &url("never"));
    slow.timeout = Duration::from_secs(5);
    let AuditOutcome::Failed { words } = auditor(slow).audit(&tiny("1.0")).await else { panic!() };
    assert!(words.contains("5s"), "{words}");

    let missing = auditor(config(dir.path(), "no-such-auditor".into(), &url("v1/query")));
    assert_eq!(
        missing.audit(&tiny("1.0")).await,
        AuditOutcome::ToolMissing { program: "no-such-auditor".into() }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tool_sees_no_variable_of_the_host_and_new_environments_are_audited_behind_the_runs() {
    if uv_is_missing() {
        return;
    }
    let Some((dir, bin)) = tools(&["pip-audit"]) else { return };
    let server = Server::start(OSV, dir.path());
    let place = Place::new();
    let shop = index(&place, &[("tiny", "1.0"), ("tiny", "2.0")]);
    for (name, version) in [("old", "1.0"), ("new", "2.0")] {
        let text = format!("--index-url http://127.0.0.1:{}/\ntiny=={version}\n", shop.port);
        place.pipeline(name, "pass").file(&format!("{name}/requirements.txt"), text);
    }
    let spy = dir.path().join("spy");
    let seen = place.tmp().join("seen");
    let script =
        format!("#!/bin/sh\nenv > '{}'\nexec '{}' \"$@\"\n", seen.display(), bin.join("pip-audit").display());
    std::fs::write(&spy, script).unwrap();
    std::fs::set_permissions(&spy, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut config = config(dir.path(), spy, &format!("http://127.0.0.1:{}/v1/query", server.port));
    config.env.insert("GIVEN".into(), "to it".into());
    let builder = place.builder().package_auditor(auditor(config)).audits(AuditPolicy::NewEnvironments);
    let flow = started(builder).await;
    let old = run(&flow, "old").await;
    let new = run(&flow, "new").await;
    until("both environments to be audited", || async {
        flow.packages().audits(None, count(9)).await.unwrap().len() == 2
    })
    .await;
    for (run, is_vulnerable) in [(old.id, true), (new.id, false)] {
        let environment = environment_of(&flow, run).await.id;
        let audits = flow.packages().audits(Some(&environment), count(9)).await.unwrap();
        let [audit] = &audits[..] else { panic!("{audits:?}") };
        assert!(audit.outcome.is_answer(), "{audit:?}");
        assert_eq!(matches!(audit.outcome, AuditOutcome::Vulnerable { .. }), is_vulnerable, "{audit:?}");
        let again = flow.packages().audit(&environment).await.unwrap();
        assert_eq!(again.outcome, audit.outcome);
        let audits = flow.packages().audits(Some(&environment), count(9)).await.unwrap();
        assert_eq!((audits.len(), &audits[0]), (2, &again));
    }
    assert_eq!(used(&flow, &query("tiny", "<2")).await.runs.items, [old.id]);
    let seen = std::fs::read_to_string(seen).unwrap();
    let names: Vec<&str> =
        seen.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert!(names.contains(&"GIVEN"), "{names:?}");
    let shells = ["GIVEN", "PWD", "OLDPWD", "SHLVL", "_"];
    assert!(names.iter().all(|name| shells.contains(name)), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_tool_an_audit_says_so_and_is_kept() {
    if uv_is_missing() {
        return;
    }
    let place = Place::new();
    let shop = index(&place, &[("tiny", "1.0")]);
    let text = format!("--index-url http://127.0.0.1:{}/\ntiny\n", shop.port);
    place.pipeline("hello", "pass").file("hello/requirements.txt", text);
    let config = PipAuditConfig::new(place.root().join("audit"));
    let flow = started(place.builder().package_auditor(auditor(config))).await;
    let done = run(&flow, "hello").await;
    used(&flow, &query("tiny", "<2")).await;
    let environment = environment_of(&flow, done.id).await.id;
    let audit = flow.packages().audit(&environment).await.unwrap();
    assert_eq!(audit.outcome, AuditOutcome::ToolMissing { program: "pip-audit".into() });
    assert_eq!(flow.packages().audits(None, count(9)).await.unwrap(), [audit], "none was made unasked");
}
