//! Inline script metadata (PEP 723): the `# /// script` block of a Python file.

use super::{
    Diagnostic, PythonRequest,
    manifest::{Document, MAX_FILE_BYTES, Place, Report},
};

/// What a script says about itself in its `# /// script` block.
///
/// ```
/// use fastflow_core::pipeline::parse_script;
///
/// let text = "# /// script\n# dependencies = [\"rich\"]\n# requires-python = \">=3.11\"\n# ///\nprint()\n";
/// let (metadata, findings) = parse_script("main.py", text);
/// assert_eq!(metadata.unwrap().dependencies.unwrap(), ["rich"]);
/// assert!(findings.is_empty());
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ScriptMetadata {
    /// The packages it needs; none when the block has no such field.
    pub dependencies: Option<Vec<String>>,
    /// The Python versions it runs on.
    pub requires_python: Option<PythonRequest>,
}

/// Reads the inline metadata of a script, by the grammar of PEP 723; its `[tool.fastflow]` table is checked, too.
///
/// There is metadata exactly when there is a block and no error among the findings.
pub fn parse_script(file_name: &str, text: &str) -> (Option<ScriptMetadata>, Vec<Diagnostic>) {
    let mut report = Report::new();
    let script = read(&mut report, file_name, text);
    if let Some(fields) = script.as_ref().and_then(|script| script.fields.as_ref()) {
        fields.read(&mut report, None);
    }
    let good = !report.has_errors();
    (script.filter(|_| good).map(|script| script.metadata), report.into_diagnostics())
}

/// A script's metadata, and the fields of its `[tool.fastflow]` not looked into yet.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) metadata: ScriptMetadata,
    pub(super) fields: Option<Document>,
}

/// Reads the block of a script; none when it has no block, or one that cannot be read.
pub(super) fn read<'a>(report: &mut Report<'a>, file_name: &'a str, text: &'a str) -> Option<Script> {
    let file = report.add_file(file_name, text);
    let mut blocks = blocks(report, file, text).into_iter().filter(|block| block.kind == "script");
    let block = blocks.next()?;
    if let Some(second) = blocks.next() {
        let message = "found a second `# /// script` block, expected one; put both together";
        report.error(Place::new(file, second.start), "", message);
        return None;
    }
    if block.toml.len() > MAX_FILE_BYTES {
        let message =
            format!("found {} bytes of metadata, expected at most {MAX_FILE_BYTES}", block.toml.len());
        report.error(Place::new(file, block.start), "", message);
        return None;
    }
    let mut document = Document::toml(report, file, &block.toml, &|offset| block.file_offset(offset))?;
    let fields = document.take_table(report, &["tool", "fastflow"]);
    let packages = "a list of packages, such as [\"rich>=13\"]";
    let dependencies = document.texts(report, "dependencies", packages);
    let dependencies = dependencies.map(|list| list.into_iter().map(str::to_owned).collect());
    let requires_python = requires_python(report, &document);
    for (name, place) in document.names() {
        if !["dependencies", "requires-python", "tool"].contains(&name) {
            let advice = "inline metadata has `dependencies`, `requires-python` and `[tool]`";
            report.unknown_field(place, name, advice);
        }
    }
    Some(Script { metadata: ScriptMetadata { dependencies, requires_python }, fields })
}

/// The field `requires-python` of a document, wrong ones reported.
pub(super) fn requires_python(report: &mut Report<'_>, document: &Document) -> Option<PythonRequest> {
    let (text, place) = document.text(report, "requires-python", PythonRequest::EXPECTED)?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let message = format!("found \"{}\", expected {}", text.escape_debug(), PythonRequest::EXPECTED);
        report.error(place, "requires-python", message);
    }
    parsed
}

/// One block: what stands between `# /// kind` and the last `# ///` of the same run of comment lines.
#[derive(Debug)]
struct Block<'a> {
    kind: &'a str,
    /// Where its first line begins.
    start: usize,
    /// The content without the comment marks.
    toml: String,
    /// Where each line of `toml` begins, and where that is in the file.
    lines: Vec<(usize, usize)>,
}

impl Block<'_> {
    fn file_offset(&self, offset: usize) -> usize {
        let line = self.lines.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        self.lines.get(line).map_or(self.start, |(start, at)| at + (offset - start))
    }
}

/// A line with the offset at which it begins, without its line end.
type Line<'a> = (usize, &'a str);

fn blocks<'a>(report: &mut Report<'_>, file: usize, text: &'a str) -> Vec<Block<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.strip_suffix('\n').unwrap_or(line);
        lines.push((offset, bare.strip_suffix('\r').unwrap_or(bare)));
        offset += line.len();
    }
    let mut blocks = Vec::new();
    let mut index = 0;
    while let Some((start, line)) = lines.get(index) {
        index += 1;
        let Some(kind) = opening(line) else { continue };
        let content = comment_lines(&lines[index..]);
        // The last closing line of the run of comments counts, so that content may hold one.
        match content.iter().rposition(|(_, line)| *line == CLOSING) {
            Some(end) if end > 0 => {
                blocks.push(block(kind, *start, &content[..end]));
                index += end + 1;
            }
            _ => {
                let message =
                    "this block has no end and is ignored: expected lines that begin with `# `, then `# ///`";
                report.warning(Place::new(file, *start), "", message);
            }
        }
    }
    blocks
}

const CLOSING: &str = "# ///";

fn opening(line: &str) -> Option<&str> {
    let kind = line.strip_prefix("# /// ")?;
    let good = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    good.then_some(kind)
}

fn comment_lines<'a, 'b>(lines: &'b [Line<'a>]) -> &'b [Line<'a>] {
    let is_comment = |line: &str| line == "#" || line.starts_with("# ");
    let end = lines.iter().position(|(_, line)| !is_comment(line)).unwrap_or(lines.len());
    &lines[..end]
}

fn block<'a>(kind: &'a str, start: usize, content: &[Line<'a>]) -> Block<'a> {
    let mut block = Block { kind, start, toml: String::new(), lines: Vec::new() };
    for (at, line) in content {
        let bare = line.strip_prefix("# ").unwrap_or("");
        block.lines.push((block.toml.len(), at + line.len() - bare.len()));
        block.toml.push_str(bare);
        block.toml.push('\n');
    }
    block
}
