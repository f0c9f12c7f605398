//! What is masked of an encoded secret, against what Python makes of it.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

use fastflow_shim::mask::Patterns;

/// How a secret may show: all of `body` has to be masked, and nothing around it.
pub(crate) struct Form {
    /// Of which secret it is.
    secret: usize,
    pub(crate) before: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) after: Vec<u8>,
}

/// Prints the forms of each secret. Which characters of base64 a secret decides alone is tried out: those that stay the
/// same whatever its neighbours are.
const SCRIPT: &str = r#"
import base64, json, sys, urllib.parse as url

def form(before, body, after=b''):
    print(number, before.hex(), body.hex(), after.hex(), sep='.')

def text(before, body, after=''):
    form(before.encode(), body.encode(), after.encode())

# What percent-encoding keeps besides letters, digits and '-._~'.
KEPT = [
    '', '/',
    # requests.utils.requote_uri, where the rest of the address may be percent-encoded already and where it may not
    "!#$%&'()*+,/:;=?@[]~", "!#$&'()*+,/:;=?@[]~",
    # urllib3.util.url, by RFC 3986: user information, a part of a path, a path, a query
    "!$&'()*+,;=:", "!$&'()*+,;=:@", "!$&'()*+,;=:@/", "!$&'()*+,;=:@/?",
    # encodeURIComponent and encodeURI of JavaScript
    "!'()*", "!'()*;/?:@&=+$,#",
]

def slashes(shown):
    return shown.replace('/', '\\/')

# As ujson, simplejson and Go have it.
def html(shown):
    return shown.replace('&', '\\u0026').replace('<', '\\u003c').replace('>', '\\u003e')

# As Flask and Jinja have it.
def html_and_quote(shown):
    return html(shown).replace("'", '\\u0027')

# As Django has it.
def html_in_capitals(shown):
    return shown.replace('&', '\\u0026').replace('<', '\\u003C').replace('>', '\\u003E')

# As simplejson and Go have it.
def separators(shown):
    return shown.replace('\u2028', '\\u2028').replace('\u2029', '\\u2029')

def json_forms(value):
    for ensure_ascii in True, False:
        shown = json.dumps({'k': value}, ensure_ascii=ensure_ascii)
        for change in str, slashes, html, html_and_quote, html_in_capitals, lambda shown: slashes(html(shown)):
            for shown_so in {change(shown), separators(change(shown))}:
                text('{"k": "', shown_so[7:-2], '"}')

def of_bytes(value):
    form(b'', value)
    text('', value.hex())
    text('', value.hex().upper())
    for encode in base64.b64encode, base64.urlsafe_b64encode:
        for before in range(4):
            for after in range(4):
                low = encode(b'\0' * before + value + b'\0' * after)
                high = encode(b'\xff' * before + value + b'\xff' * after)
                same = [index for index, pair in enumerate(zip(low, high)) if pair[0] == pair[1] and pair[0] != ord('=')]
                # Zeros at the end are what there is where nothing follows, and are masked with it.
                for encoded in encode(b'\0' * before + value + b'\xff' * after), high:
                    form(encoded[:same[0]], encoded[same[0]:same[-1] + 1], encoded[same[-1] + 1:])
    for safe in KEPT:
        for quote in url.quote, url.quote_plus:
            parts = [quote(bytes([byte]), safe=safe) for byte in value]
            assert ''.join(parts) == quote(value, safe=safe)
            for parts in parts, [part.lower() if len(part) == 3 else part for part in parts]:
                text('k=', ''.join(parts), '&')
    # A form, as browsers and Java send it, and as PHP does.
    for kept in '*-._', '-._':
        text('k=', ''.join(
            '+' if byte == 32 else chr(byte) if byte < 128 and (chr(byte).isalnum() or chr(byte) in kept) else f'%{byte:02X}'
            for byte in value), '&')
    text("b'", repr(value + b'"\'')[2:-4], repr(value + b'"\'')[-4:])
    text('b"', repr(value)[2:-1], repr(value)[-1])
    text('[b"', repr([value + b"'"])[3:-(3 if repr(value + b"'")[1] == '"' else 4)])

def of_text(value):
    of_bytes(value.encode())
    json_forms(value)
    for show in repr, ascii:
        shown = show([value])
        text(shown[:2], shown[2:-2], shown[-2:])
        shown = show('\'"' + value)
        assert shown[:4] == "'\\'\""
        text(shown[:4], shown[4:-1], shown[-1:])
        shown = show(value + "'")
        end = 2 if shown[0] == '"' else 3
        text(shown[:1], shown[1:-end], shown[-end:])

for number, line in enumerate(sys.stdin):
    value = bytes.fromhex(line)
    try:
        value = value.decode()
    except UnicodeDecodeError:
        of_bytes(value)
        continue
    of_text(value)
    if '\n' in value.strip('\n'):
        for part in value.split('\n'):
            if len(part.removesuffix('\r').encode()) >= 8:
                of_text(part.removesuffix('\r'))
"#;

/// The forms of all of `secrets`.
pub(crate) fn forms(secrets: &[Vec<u8>]) -> Vec<Form> {
    let mut python = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = String::new();
    for secret in secrets {
        for byte in secret {
            write!(input, "{byte:02x}").unwrap();
        }
        input.push('\n');
    }
    let mut stdin = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    let form = |line: &str| {
        let (secret, rest) = line.split_once('.').unwrap();
        let mut parts = rest.split('.').map(unhex);
        let mut part = || parts.next().unwrap();
        Form { secret: secret.parse().unwrap(), before: part(), body: part(), after: part() }
    };
    lines.lines().map(form).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Numbers without a pattern, the same each time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap() % limit
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Of all sorts of characters.
    pub(crate) fn text(&mut self) -> String {
        const SPECIAL: &[char] = &[
            '\'', '"', '\\', '/', ' ', '+', '%', '\n', '\r', '\t', '\0', '\u{7f}', '\u{a0}', '~', '&', '<',
            '\u{2028}',
        ];
        let length = 6 + self.below(60);
        let plain_only = self.below(3) == 0;
        let character = |random: &mut Self| match random.below(10) {
            0..6 => char::from(b'!' + u8::try_from(random.below(94)).unwrap()),
            _ if plain_only => 'x',
            6 => random.pick(SPECIAL),
            7 => char::from_u32(u32::try_from(random.below(0x250)).unwrap()).unwrap(),
            8 => char::from_u32(0x4e00 + u32::try_from(random.below(0x5000)).unwrap()).unwrap(),
            _ => char::from_u32(0x1f300 + u32::try_from(random.below(0x200)).unwrap()).unwrap(),
        };
        (0..length).map(|_| character(self)).collect()
    }
}

/// Each is masked by its own patterns alone: what another one brings must not help.
fn are_masked(secrets: &[Vec<u8>]) {
    let patterns: Vec<_> = secrets.iter().map(|secret| Patterns::new([secret.as_slice()]).unwrap()).collect();
    let forms = forms(secrets);
    assert!(forms.len() > 50 * secrets.len());
    for Form { secret, before, body, after } in forms {
        let text = [b"<", &*before, &*body, &*after, b">"].concat();
        let expected = [b"<", &*before, b"***", &*after, b">"].concat();
        let (masked, count) = patterns[secret].mask(&text);
        assert!(
            *masked == *expected && count == 1,
            "of {:?} in {:?} this is left: {:?}",
            String::from_utf8_lossy(&secrets[secret]),
            String::from_utf8_lossy(&text),
            String::from_utf8_lossy(&masked)
        );
    }
}

#[test]
fn whatever_python_makes_of_a_text_is_masked() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    are_masked(&(0..60).map(|_| random.text().into_bytes()).collect::<Vec<_>>());
}

#[test]
fn whatever_python_makes_of_bytes_is_masked() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let bytes = |random: &mut Random| {
        let length = 6 + random.below(60);
        let mut bytes: Vec<u8> = (0..length).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        bytes.push(0xff);
        bytes
    };
    are_masked(&(0..20).map(|_| bytes(&mut random)).collect::<Vec<_>>());
}

#[test]
fn the_hard_cases_are_masked() {
    let all: String = (0..=255_u8).map(char::from).collect();
    let secrets = [
        &*all,
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw\r\n\"quoted\"\\and/more\n-----END PRIVATE KEY-----\n",
        "it's \"both\" quotes",
        "it's one",
        "a\"nother",
        "\\\\\\\\\\\\",
        "sechs6",
        "   a b   ",
        "e\u{301}e\u{301}e\u{301}",
        "https://user:p@ss,w(o)rd!@host/a/b?c=d&e=[f]#g~%2Fh'*$;+i j",
        "<a href='/x'>&\u{2028}</a>\u{2029}",
        "wJalr/XUtnFEMI+K7MDENG/bPxRfiCYEXAMPLEKEY=",
    ];
    are_masked(&secrets.map(|secret| secret.as_bytes().to_vec()));
}
