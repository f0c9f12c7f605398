//! The parameters that a pipeline declares.

use std::collections::BTreeMap;

use super::{
    Report, env,
    field::{Field, Fields},
    node::Kind,
    read,
};
use crate::pipeline::{EnvName, ParameterDeclaration, ParameterType, Parameters, Undeclared};

pub(super) fn parameters(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Parameters {
    let choices = [("allow", Undeclared::Allow), ("refuse", Undeclared::Refuse)];
    Parameters {
        declared: fields.take("parameters").map(|field| declared(report, &field)).unwrap_or_default(),
        undeclared: fields
            .take("undeclared_parameters")
            .and_then(|field| field.choice(report, &choices))
            .unwrap_or_default(),
    }
}

fn declared(report: &mut Report<'_>, field: &Field<'_>) -> BTreeMap<EnvName, ParameterDeclaration> {
    let entries = field.entries(report);
    if entries.len() > Parameters::MAX_ENTRIES {
        let message =
            format!("found {} entries, expected at most {}", entries.len(), Parameters::MAX_ENTRIES);
        report.error(field.node.place, &field.path, message);
        return BTreeMap::new();
    }
    let mut declared = BTreeMap::new();
    for (name, place, value) in entries {
        let name = env::env_name(report, place, &value.path, name);
        let Some(mut fields) = Fields::open(report, &value.path, value.node) else { continue };
        let declaration = declaration(report, &mut fields);
        fields.finish(report);
        declared.extend(name.zip(declaration));
    }
    declared
}

pub(super) fn declaration(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Option<ParameterDeclaration> {
    let types = ParameterType::ALL.map(|of_type| (of_type.as_str(), of_type));
    let of_type = match fields.take("type") {
        Some(field) => field.choice(report, &types),
        None => Some(ParameterType::default()),
    };
    let description = fields
        .take("description")
        .and_then(|field| read::bounded_text(report, &field, ParameterDeclaration::MAX_DESCRIPTION_CHARS));
    let required = read::flag(report, fields, "required", false);
    let choices = fields.take("choices");
    let default = fields.take("default");
    // Whether values fit a type that is wrong itself, nobody can say.
    let of_type = of_type?;
    let choices = choices.map(|field| values(report, &field, of_type)).unwrap_or_default();
    let default = default.and_then(|field| {
        let text = value(report, &field, of_type)?;
        if !choices.is_empty() && !choices.contains(&text) {
            field.wrong(report, "one of its `choices`");
        }
        if required {
            let message =
                "has no effect because `required` is true: a caller must give a value; keep one of them";
            report.warning(field.node.place, &field.path, message);
        }
        Some(text)
    });
    Some(ParameterDeclaration { of_type, description, default, required, choices })
}

fn values(report: &mut Report<'_>, field: &Field<'_>, of_type: ParameterType) -> Vec<String> {
    let mut values = Vec::new();
    for item in field.list(report, ParameterDeclaration::MAX_CHOICES, "a list of values") {
        let Some(text) = value(report, &item, of_type) else { continue };
        if values.contains(&text) {
            report.warning(item.node.place, &item.path, "found this value twice; it counts once");
        } else {
            values.push(text);
        }
    }
    values
}

/// A value as programs get it: a number or a truth value becomes the text that stands in the file.
fn value(report: &mut Report<'_>, field: &Field<'_>, of_type: ParameterType) -> Option<String> {
    let text = match (&field.node.kind, of_type) {
        (Kind::Text(text), _) => text.clone(),
        (Kind::Number(number), ParameterType::Integer | ParameterType::Number) => number.clone(),
        (Kind::Bool(value), ParameterType::Boolean) => value.to_string(),
        (Kind::Number(_) | Kind::Bool(_), ParameterType::String) => {
            field.wrong(report, "a string, which is the `type` of this parameter; put the value in quotes");
            return None;
        }
        _ => {
            field.wrong(report, of_type.expected());
            return None;
        }
    };
    if !of_type.fits(&text) {
        field.wrong(report, of_type.expected());
        return None;
    }
    Some(text)
}
