//! JSON and TOML as one tree that remembers where each value stands.

use jsonc_parser::{CollectOptions, ParseOptions, ast, common::Ranged, parse_to_ast};
use toml::de::{DeArray, DeTable, DeValue};

use super::{MAX_DEPTH, Report};

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) place: Place,
}

/// A byte in one of a report's files.
#[derive(Clone, Copy, Debug)]
pub(in crate::pipeline) struct Place {
    pub(super) file: usize,
    pub(super) offset: usize,
}

impl Place {
    pub(in crate::pipeline) fn new(file: usize, offset: usize) -> Self {
        Self { file, offset }
    }
}

#[derive(Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    /// The number as it was written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Member>),
}

/// One field of an object.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

impl Node {
    /// What stands there, in words, for "found …".
    pub(super) fn found(&self) -> String {
        const MAX_CHARS: usize = 60;
        match &self.kind {
            Kind::Text(text) if text.chars().count() > MAX_CHARS => {
                let start: String = text.chars().take(MAX_CHARS).collect();
                format!("\"{}…\"", start.escape_debug())
            }
            Kind::Text(text) => format!("\"{}\"", text.escape_debug()),
            Kind::Number(number) => number.chars().take(MAX_CHARS).collect(),
            Kind::Bool(value) => value.to_string(),
            _ => self.found_kind().to_owned(),
        }
    }

    /// The same for values that may be secret.
    pub(super) fn found_kind(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "a string",
            Kind::List(_) => "a list",
            Kind::Object(_) => "an object",
        }
    }
}

/// Reads strict JSON (RFC 8259). What is wrong goes to the report.
pub(super) fn from_json(report: &mut Report<'_>, file: usize) -> Option<Node> {
    let text = report.text(file);
    let skipped = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let options = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let value = match parse_to_ast(&text[skipped..], &CollectOptions::default(), &options) {
        Ok(parsed) => parsed.value,
        Err(error) => {
            let place = Place { file, offset: skipped + error.range().start };
            let words = error.kind().to_string();
            report.error(
                place,
                "",
                format!("this is not JSON: {}{}", words[..1].to_lowercase(), &words[1..]),
            );
            return None;
        }
    };
    // The first parser is made for a wider language; the second one knows only JSON.
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text[skipped..]) {
        let line_start = match error.line() {
            0 | 1 => skipped,
            line => text.match_indices('\n').nth(line - 2).map_or(0, |(at, _)| at + 1),
        };
        let place = Place { file, offset: line_start + error.column().saturating_sub(1) };
        report.error(place, "", format!("this is not JSON: {error}"));
        return None;
    }
    let reader = Reader { file, depth: 0, shift: &|offset| offset + skipped };
    value.and_then(|value| reader.json(report, &value))
}

/// Reads TOML in which the byte `offset` stands at `shift(offset)` of the file. All that is wrong goes to the
/// report.
pub(super) fn from_toml(
    report: &mut Report<'_>,
    file: usize,
    toml: &str,
    shift: &dyn Fn(usize) -> usize,
) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(toml);
    for error in &errors {
        let offset = shift(error.span().map_or(0, |span| span.start));
        report.error(Place { file, offset }, "", format!("this is not TOML: {}", error.message()));
    }
    if !errors.is_empty() {
        return None;
    }
    let start = table.span().start;
    Reader { file, depth: 0, shift }.table(report, start, table.get_ref())
}

struct Reader<'a> {
    file: usize,
    depth: usize,
    /// From the parser's offsets to the file's.
    shift: &'a dyn Fn(usize) -> usize,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> Place {
        Place { file: self.file, offset: (self.shift)(offset) }
    }

    /// The reader of what lies inside a value at `offset`, unless that is too deep.
    fn inside(&self, report: &mut Report<'_>, offset: usize) -> Option<Self> {
        if self.depth >= MAX_DEPTH {
            report.error(
                self.place(offset),
                "",
                format!("found more than {MAX_DEPTH} levels of lists and objects inside each other"),
            );
            return None;
        }
        Some(Self { file: self.file, depth: self.depth + 1, shift: self.shift })
    }

    fn json(&self, report: &mut Report<'_>, value: &ast::Value<'_>) -> Option<Node> {
        let offset = value.start();
        let kind = match value {
            ast::Value::NullKeyword(_) => Kind::Null,
            ast::Value::BooleanLit(lit) => Kind::Bool(lit.value),
            ast::Value::NumberLit(lit) => Kind::Number(lit.value.to_owned()),
            ast::Value::StringLit(lit) => Kind::Text(lit.value.clone().into_owned()),
            ast::Value::Array(array) => {
                let inside = self.inside(report, offset)?;
                let nodes = array.elements.iter().map(|element| inside.json(report, element));
                Kind::List(nodes.collect::<Option<_>>()?)
            }
            ast::Value::Object(object) => {
                let inside = self.inside(report, offset)?;
                let member = |prop: &ast::ObjectProp<'_>| {
                    Some(Member {
                        name: prop.name.as_str().to_owned(),
                        place: self.place(prop.start()),
                        value: inside.json(report, &prop.value)?,
                    })
                };
                Kind::Object(object.properties.iter().map(member).collect::<Option<_>>()?)
            }
        };
        Some(Node { kind, place: self.place(offset) })
    }

    fn toml(&self, report: &mut Report<'_>, offset: usize, value: &DeValue<'_>) -> Option<Node> {
        let kind = match value {
            DeValue::Boolean(value) => Kind::Bool(*value),
            DeValue::Integer(number) => Kind::Number(
                i128::from_str_radix(number.as_str(), number.radix())
                    .map_or_else(|_| number.to_string(), |number| number.to_string()),
            ),
            DeValue::Float(number) => Kind::Number(number.as_str().to_owned()),
            DeValue::String(text) => Kind::Text(text.clone().into_owned()),
            // JSON has no such type and writes it as a string.
            DeValue::Datetime(time) => Kind::Text(time.to_string()),
            DeValue::Array(array) => Kind::List(self.array(report, offset, array)?),
            DeValue::Table(table) => return self.table(report, offset, table),
        };
        Some(Node { kind, place: self.place(offset) })
    }

    fn array(&self, report: &mut Report<'_>, offset: usize, array: &DeArray<'_>) -> Option<Vec<Node>> {
        let inside = self.inside(report, offset)?;
        array.iter().map(|item| inside.toml(report, item.span().start, item.get_ref())).collect()
    }

    fn table(&self, report: &mut Report<'_>, offset: usize, table: &DeTable<'_>) -> Option<Node> {
        let inside = self.inside(report, offset)?;
        let member = |(name, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let text: &std::borrow::Cow<'_, str> = name.get_ref();
            Some(Member {
                name: text.clone().into_owned(),
                place: self.place(name.span().start),
                value: inside.toml(report, value.span().start, value.get_ref())?,
            })
        };
        let members = table.iter().map(member).collect::<Option<_>>()?;
        Some(Node { kind: Kind::Object(members), place: self.place(offset) })
    }
}
