//! What can be a secret.

use std::mem;

use zeroize::{Zeroize as _, Zeroizing};

use super::{MAX_SECRET_BYTES, Secret};
use crate::{Error, ErrorKind, Result};

/// Checks the value of a secret: no NUL, which no variable can hold, and at most [`MAX_SECRET_BYTES`].
///
/// ```
/// use fastflow_core::secret::{Secret, check_secret};
///
/// assert!(check_secret(&Secret::new("s3cret")).is_ok());
/// assert!(check_secret(&Secret::new("s3\0cret")).is_err());
/// ```
///
/// # Errors
///
/// `Invalid`, without the value in its text.
pub fn check_secret(secret: &Secret) -> Result<()> {
    let value = secret.expose();
    if value.len() > MAX_SECRET_BYTES {
        return Err(Error::new(ErrorKind::Invalid, "a secret is too long")
            .with("bytes", value.len())
            .with("max_bytes", MAX_SECRET_BYTES));
    }
    if value.contains('\0') {
        return Err(Error::new(ErrorKind::Invalid, "a secret cannot hold NUL"));
    }
    Ok(())
}

/// The secret that these bytes are. They are taken over; no copy of them is left.
pub(super) fn secret_of(mut bytes: Zeroizing<Vec<u8>>) -> Result<Secret> {
    match String::from_utf8(mem::take(&mut *bytes)) {
        Ok(text) => {
            let secret = Secret::new(text);
            check_secret(&secret)?;
            Ok(secret)
        }
        Err(error) => {
            error.into_bytes().zeroize();
            Err(Error::new(ErrorKind::Invalid, "a secret is text, and this one is not UTF-8"))
        }
    }
}
