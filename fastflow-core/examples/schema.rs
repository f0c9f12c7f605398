//! Writes what is generated from the types: `docs/pipeline.schema.json`, and the table of fields in
//! `docs/guide/pipeline-json.md`.
//!
//! `cargo run -p fastflow-core --example schema`

use std::{fs, io, path::Path};

use fastflow_core::pipeline::{manifest_schema, manifest_table};

fn main() -> io::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let schema = serde_json::to_string_pretty(&manifest_schema())?;
    fs::write(docs.join("pipeline.schema.json"), format!("{schema}\n"))?;
    let guide = docs.join("guide/pipeline-json.md");
    let text = fs::read_to_string(&guide)?;
    let parts = text.split_once("<!-- fields -->\n").zip(text.split_once("<!-- end of fields -->\n"));
    let Some(((before, _), (_, after))) = parts else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the guide has no `<!-- fields -->` marks"));
    };
    let table = manifest_table();
    fs::write(guide, format!("{before}<!-- fields -->\n\n{table}\n<!-- end of fields -->\n{after}"))
}
