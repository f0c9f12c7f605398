//! What Rust takes for printable against what Python does.

use std::process::Command;

use super::encode::is_printable;

/// For each character `p` where Python keeps it, `e` where it escapes it, `?` where its Unicode does not have it yet, `-`
/// where it is none.
const SCRIPT: &str = "
import unicodedata
def kind(character):
    category = unicodedata.category(character)
    return '-' if category == 'Cs' else '?' if category == 'Cn' else 'p' if character.isprintable() else 'e'
print(''.join(map(kind, map(chr, range(0x110000)))), end='')
";

#[test]
fn the_same_characters_are_printable() {
    let output = Command::new("python3").args(["-c", SCRIPT]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout.len(), 0x11_0000);
    let mut known = 0;
    for (code, said) in (0..).zip(output.stdout) {
        let Some(character) = char::from_u32(code).filter(|_| said != b'?') else { continue };
        known += 1;
        assert_eq!(said == b'p', is_printable(character), "{character:?} is {}", char::from(said));
    }
    assert!(known > 250_000, "{known}");
}
