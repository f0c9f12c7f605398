//! Names made from content.

use std::path::Path;

use sha2::{Digest as _, Sha256};

/// A SHA-256 over fields that cannot run into each other: each is preceded by its length.
pub(super) struct Digest(Sha256);

impl Digest {
    /// A digest for one purpose; two purposes never give the same name.
    pub(super) fn new(purpose: &str) -> Self {
        let mut digest = Self(Sha256::new());
        digest.add(purpose.as_bytes());
        digest
    }

    pub(super) fn add(&mut self, field: impl AsRef<[u8]>) {
        let field = field.as_ref();
        self.0.update((field.len() as u64).to_le_bytes());
        self.0.update(field);
    }

    pub(super) fn add_path(&mut self, path: &Path) {
        self.add(path.as_os_str().as_encoded_bytes());
    }

    /// 64 lower-case hexadecimal digits.
    pub(super) fn finish(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bytes = self.0.finalize();
        bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|n| DIGITS[usize::from(n)] as char).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let name = |fields: &[&str]| {
            let mut digest = Digest::new("test");
            for field in fields {
                digest.add(field);
            }
            digest.finish()
        };
        assert_ne!(name(&["ab", "c"]), name(&["a", "bc"]));
        assert_eq!(name(&["ab"]).len(), 64);
    }
}
