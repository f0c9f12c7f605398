//! Which known name a wrong one was probably meant to be.

/// The least likeness that is worth a "did you mean".
const LEAST: f64 = 0.8;
/// Longer names are not compared: nobody mistypes them, and comparing costs the product of both lengths.
const MAX_BYTES: usize = 255;

/// The known name that `name` was probably meant to be: case does not count, nor does `-` in the place of `_`.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > MAX_BYTES {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let name = plain(name);
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&name, &plain(candidate)), candidate))
        .filter(|(likeness, _)| *likeness >= LEAST)
        // The first of several that are as near.
        .reduce(|best, other| if other.0 > best.0 { other } else { best })
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_is_found_and_a_stranger_is_not() {
        let known = ["timeout", "retry_attempts", "Europe/Berlin"];
        assert_eq!(nearest("tiemout", known), Some("timeout"));
        assert_eq!(nearest("Retry-Attempt", known), Some("retry_attempts"));
        assert_eq!(nearest("europe/berln", known), Some("Europe/Berlin"));
        assert_eq!(nearest("color", known), None);
        assert_eq!(nearest(&"timeout".repeat(100), known), None);
        assert_eq!(nearest("ab", ["abd", "abc"]), Some("abd"));
    }
}
