//! What callers give, held against what pipelines declare.

use std::collections::BTreeMap;

use fastflow_core::{ErrorKind, pipeline::*};
use proptest::prelude::*;

use super::good;

const DECLARED: &str = r#"{"undeclared_parameters": "refuse", "parameters": {
    "MONTH": {"type": "integer", "required": true},
    "RATE": {"type": "number", "default": 0.5},
    "DRY": {"type": "boolean", "default": false},
    "MODE": {"choices": ["full", "delta"], "default": "full"},
    "NOTE": {}}}"#;

fn given(pairs: &[(&str, &str)]) -> BTreeMap<EnvName, String> {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), (*value).to_owned())).collect()
}

#[test]
fn what_fits_passes_with_the_defaults_of_the_rest() {
    let parameters = good(DECLARED).parameters;
    let all = [("DRY", "false"), ("MODE", "full"), ("MONTH", "5"), ("RATE", "0.5")];
    assert_eq!(parameters.check(given(&[("MONTH", "5")])).unwrap(), given(&all));
    let own = [("DRY", "true"), ("MODE", "delta"), ("MONTH", "-12"), ("NOTE", ""), ("RATE", "-1e-3")];
    assert_eq!(parameters.check(given(&own)).unwrap(), given(&own));
    let any = Parameters::default();
    assert_eq!(any.check(given(&[("X", "anything\n")])).unwrap(), given(&[("X", "anything\n")]));
}

#[test]
fn what_does_not_fit_is_told_with_what_is_allowed() {
    let parameters = good(DECLARED).parameters;
    let refused = |pairs: &[(&str, &str)]| {
        let mut pairs = pairs.to_vec();
        if !pairs.iter().any(|(name, _)| *name == "MONTH") {
            pairs.push(("MONTH", "1"));
        }
        let error = parameters.check(given(&pairs)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.to_string()
    };
    for (pair, part) in [
        (
            ("MONTH", "5.0"),
            "parameter: MONTH, found: \"5.0\", expected: a whole number from -9223372036854775808",
        ),
        (("MONTH", ""), "found: \"\", expected: a whole number"),
        (("MONTH", " 5"), "found: \" 5\", expected: a whole number"),
        (("MONTH", "9223372036854775808"), "expected: a whole number"),
        (("RATE", "inf"), "parameter: RATE, found: \"inf\", expected: a number"),
        (("RATE", "1e400"), "expected: a number"),
        (("DRY", "True"), "parameter: DRY, found: \"True\", expected: true or false"),
        (("MODE", "half"), "parameter: MODE, found: \"half\", expected: one of \"full\", \"delta\""),
        (("MOED", "full"), "(parameter: MOED, did you mean: MODE)"),
        (("XYZ", "full"), "(parameter: XYZ, expected: DRY, MODE, MONTH, NOTE, RATE)"),
        (("NOTE", "a\0b"), "found: \"a\\0b\", expected: a string"),
    ] {
        let text = refused(&[pair]);
        assert!(text.contains(part), "{pair:?}: {text}");
    }
    let missing = parameters.check(given(&[])).unwrap_err().to_string();
    assert!(
        missing.contains("required parameter is missing (parameter: MONTH, expected: a whole"),
        "{missing}"
    );
    let long = refused(&[("DRY", &"\n".repeat(1000))]);
    assert!(long.contains(&format!("found: \"{}…\"", "\\n".repeat(40))), "{long}");
    let none = Parameters { undeclared: Undeclared::Refuse, ..Parameters::default() };
    assert!(none.check(given(&[("A", "1")])).unwrap_err().to_string().contains("expected: no parameter"));
}

#[test]
fn many_choices_are_not_all_told() {
    let choices: Vec<String> = (0..100).map(|n| format!("c{n}")).collect();
    let declaration = ParameterDeclaration { choices, ..ParameterDeclaration::default() };
    let parameters =
        Parameters { declared: [("A".parse().unwrap(), declaration)].into(), ..Parameters::default() };
    let text = parameters.check(given(&[("A", "x")])).unwrap_err().to_string();
    assert!(text.ends_with("\"c9\" and 90 others)"), "{text}");
}

proptest! {
    /// What passes once passes again and stays as it is, so that reruns and chains may check what was checked.
    #[test]
    fn what_passed_passes_again(
        month in "[0-9]{0,3}|x", rate in "-?[0-9]?(\\.[0-9])?", dry in "true|false|no", mode in "full|delta|all",
    ) {
        let parameters = good(DECLARED).parameters;
        let given = given(&[("MONTH", &month), ("RATE", &rate), ("DRY", &dry), ("MODE", &mode)]);
        let fits = month.parse::<i64>().is_ok()
            && serde_json::from_str::<f64>(&rate).is_ok() && dry != "no" && mode != "all";
        match parameters.check(given) {
            Ok(passed) => {
                prop_assert!(fits);
                prop_assert_eq!(parameters.check(passed.clone()).unwrap(), passed);
            }
            Err(_) => prop_assert!(!fits),
        }
    }

    #[test]
    fn every_whole_number_is_one_and_a_number_too(number: i64) {
        let text = number.to_string();
        prop_assert!(ParameterType::Integer.fits(&text) && ParameterType::Number.fits(&text));
        let fraction = format!("{text}.5");
        prop_assert!(!ParameterType::Integer.fits(&fraction) && ParameterType::Number.fits(&fraction));
    }
}
