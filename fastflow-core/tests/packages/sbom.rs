//! Bills of materials, by the schema and a strict reader of others.

use std::process::Command;

use crate::{
    kit::{Place, run, started_after},
    shop::{environment_of, index, tools, uv_is_missing},
};

/// Validates against the schema, and then reads it as what it says it is.
const VALIDATE: &str = "
import json, sys
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

text = open(sys.argv[1]).read()
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
assert error is None, error
bom = Bom.from_json(json.loads(text))
bom.validate()
for component in sorted(bom.components, key=lambda component: component.name):
    hashes = [str(hash.content) for hash in component.hashes]
    for reference in component.external_references:
        hashes += [str(hash.content) for hash in reference.hashes]
    print(component.name, component.version, component.purl, sorted(set(hashes)))
";

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_is_valid_complete_and_always_the_same() {
    if uv_is_missing() {
        return;
    }
    let Some((_tools, bin)) = tools(&["cyclonedx-python-lib[json-validation]"]) else { return };
    let place = Place::new();
    let server = index(&place, &[("tiny", "1.0+local.1"), ("small", "2.0")]);
    let requirements = format!("--index-url http://127.0.0.1:{}/\ntiny\nsmall\n", server.port);
    place.pipeline("hello", "pass").file("hello/requirements.txt", requirements);
    let flow = place.start().await;
    let done = run(&flow, "hello").await;
    let bill = flow.packages().sbom(done.id).await.unwrap();
    let environment = environment_of(&flow, done.id).await;
    assert_eq!(flow.packages().sbom(environment.id.clone()).await.unwrap(), bill);

    let path = place.root().join("bill.json");
    std::fs::write(&path, bill.to_string()).unwrap();
    let output = Command::new(bin.join("python")).args(["-c", VALIDATE]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}\n{bill:#}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    let [python, small, tiny] = lines[..] else { panic!("{said}") };
    let version = &environment.python_version;
    assert_eq!(python, format!("python {version} pkg:generic/python@{version} []"));
    let packages = flow.packages().of_run(done.id).await.unwrap().packages.unwrap();
    for (line, package) in [(small, &packages[0]), (tiny, &packages[1])] {
        assert!(line.starts_with(&format!("{} {} pkg:pypi/", package.name, package.version)), "{line}");
        assert!(line.contains(package.hashes[0].digest()), "{line}");
    }
    assert!(tiny.contains("pkg:pypi/tiny@1.0%2Blocal.1?repository_url=http"), "{tiny}");

    drop(flow);
    let flow = started_after(|| place.builder()).await;
    assert_eq!(flow.packages().sbom(environment.id).await.unwrap(), bill, "the next host says the same");
}
