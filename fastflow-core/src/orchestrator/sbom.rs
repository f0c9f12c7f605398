//! Bills of materials, as [CycloneDX](https://cyclonedx.org/docs/1.6/json/) 1.6.

use serde_json::{Map, Value, json};

use crate::{
    Error, ErrorKind, Result,
    environment::{EnvironmentId, Package, PackageHash, PackageOrigin},
    host::unknown_packages,
    store::EnvironmentPackages,
};

const SPEC_VERSION: &str = "1.6";
/// The index that a package URL means when it names none.
const PYPI: &str = "https://pypi.org/simple";

/// The bill of an environment. Equal environments have equal ones.
pub(super) fn cyclonedx(environment: &EnvironmentPackages) -> Result<Value> {
    let id = &environment.environment;
    let packages = environment.packages.as_ref().ok_or_else(|| unknown_packages(id))?;
    let python = format!("pkg:generic/python@{}", encoded(&environment.python_version));
    let mut components = vec![json!({
        "type": "platform",
        "bom-ref": python,
        "name": "python",
        "version": environment.python_version,
        "purl": python,
    })];
    components.extend(packages.iter().map(component));
    let references: Vec<Value> = components.iter().map(|component| component["bom-ref"].clone()).collect();
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": serial_number(id)?,
        "version": 1,
        "metadata": {
            "timestamp": environment.recorded_at.to_string(),
            "tools": { "components": [{
                "type": "application",
                "name": "fast-flow",
                "version": env!("CARGO_PKG_VERSION"),
            }] },
            "component": {
                "type": "application",
                "bom-ref": id.as_str(),
                "name": "fast-flow-environment",
                "version": id.as_str(),
            },
            "properties": [
                property("fast-flow:lock-sha256", &environment.lock_hash),
                property("fast-flow:uv", &environment.uv_version),
            ],
        },
        "components": components,
        "dependencies": [{ "ref": id.as_str(), "dependsOn": references }],
    }))
}

fn component(package: &Package) -> Value {
    let purl = purl(package);
    let mut component = Map::new();
    component.insert("type".into(), "library".into());
    component.insert("bom-ref".into(), purl.clone().into());
    component.insert("name".into(), package.name.as_str().into());
    component.insert("version".into(), package.version.as_str().into());
    component.insert("purl".into(), purl.clone().into());
    let hashes: Vec<Value> = package.hashes.iter().filter_map(hash).collect();
    if hashes.len() == 1 {
        // The lock names one file, so that is the one which is installed.
        component.insert("hashes".into(), hashes.clone().into());
    }
    let place = match &package.origin {
        PackageOrigin::Index { url } if url.contains("://") => Some(format!("{}/{}/", url, package.name)),
        PackageOrigin::Direct { url } => Some(url.clone()),
        _ => None,
    };
    // Several hashes are those of all the files that the lock allows, one of which is installed.
    if place.is_some() || hashes.len() > 1 {
        let mut distribution = Map::new();
        distribution.insert("type".into(), "distribution".into());
        distribution.insert("url".into(), place.map_or(purl, |place| iri(&place)).into());
        if !hashes.is_empty() {
            distribution.insert("hashes".into(), hashes.into());
        }
        component.insert("externalReferences".into(), json!([distribution]));
    }
    component.into()
}

/// The [package URL](https://github.com/package-url/purl-spec).
fn purl(package: &Package) -> String {
    let plain = format!("pkg:pypi/{}@{}", package.name, encoded(&package.version));
    match &package.origin {
        PackageOrigin::Index { url } if url.contains("://") && url != PYPI => {
            format!("{plain}?repository_url={}", encoded(url))
        }
        PackageOrigin::Direct { url } => {
            let qualifier = if url.starts_with("git+") { "vcs_url" } else { "download_url" };
            format!("{plain}?{qualifier}={}", encoded(url))
        }
        _ => plain,
    }
}

fn hash(hash: &PackageHash) -> Option<Value> {
    let algorithm = match hash.algorithm() {
        "sha256" => "SHA-256",
        "sha384" => "SHA-384",
        "sha512" => "SHA-512",
        "sha1" => "SHA-1",
        "md5" => "MD5",
        _ => return None,
    };
    Some(json!({ "alg": algorithm, "content": hash.digest() }))
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

/// A UUID made of an environment's id.
fn serial_number(id: &EnvironmentId) -> Result<String> {
    let half = id.as_str().get(..32).and_then(|half| u128::from_str_radix(half, 16).ok());
    let half = half.ok_or_else(|| Error::new(ErrorKind::Internal, "an environment id without digits"))?;
    Ok(uuid::Builder::from_custom_bytes(half.to_be_bytes()).into_uuid().urn().to_string())
}

/// As a part of a package URL: percent-encoded, all but what never means anything there.
fn encoded(text: &str) -> String {
    escaped(text, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// As a whole reference: percent-encoded, what cannot stand in one.
fn iri(text: &str) -> String {
    escaped(text, |byte| byte.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&byte))
}

fn escaped(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    use std::fmt::Write as _;

    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}
