//! Who asks for a repository.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

use super::ssh::DeployKey;
use crate::{Error, ErrorKind, Result};

/// The longest token, in bytes.
const MAX_TOKEN_BYTES: u64 = 16 << 10;

/// Who asks for a repository, and how that is shown to the server.
///
/// ```
/// use fastflow_core::source::{DeployKey, GitAccess, Token};
///
/// let by_token = GitAccess::token(Token::new("s3cret"));
/// assert!(!format!("{by_token:?}").contains("s3cret"));
/// let by_key = GitAccess::DeployKey(DeployKey::at("/var/lib/fast-flow/id_ed25519"));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum GitAccess {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// With a token as the password; for https.
    Token(TokenAccess),
    /// With a private key; for ssh.
    DeployKey(DeployKey),
}

impl GitAccess {
    /// With a token that stays the same.
    pub fn token(token: Token) -> Self {
        Self::tokens(token)
    }

    /// With the token in a file, which is read anew for each sync.
    pub fn token_file(path: impl Into<PathBuf>) -> Self {
        Self::tokens(TokenFile(path.into()))
    }

    /// With the token that a function returns, which is called for each sync, where blocking is allowed.
    pub fn token_from(ask: impl Fn() -> Result<Token> + Send + Sync + 'static) -> Self {
        Self::tokens(TokenFunction(Box::new(ask)))
    }

    /// With the tokens of somebody who has them, such as a [`GitHubApp`](super::GitHubApp).
    pub fn tokens(provider: impl TokenProvider) -> Self {
        Self::Token(TokenAccess { username: TokenAccess::USERNAME.to_owned(), provider: Arc::new(provider) })
    }
}

/// A token, whom it belongs to, and where it comes from.
///
/// ```
/// use fastflow_core::source::{GitAccess, Token, TokenAccess};
///
/// let GitAccess::Token(access) = GitAccess::token(Token::new("s3cret")) else { unreachable!() };
/// assert_eq!(access.username, TokenAccess::USERNAME);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenAccess {
    /// Whom it belongs to. Most servers do not look at it; those that do, such as Bitbucket, say what they want.
    pub username: String,
    /// Who has it.
    pub provider: Arc<dyn TokenProvider>,
}

impl TokenAccess {
    /// The default of `username`.
    pub const USERNAME: &str = "x-access-token";
}

/// Somebody who has tokens, and may have another one each time.
///
/// ```
/// use fastflow_core::{Result, source::{Token, TokenProvider}};
///
/// #[derive(Debug)]
/// struct Vault;
///
/// #[async_trait::async_trait]
/// impl TokenProvider for Vault {
///     async fn token(&self) -> Result<Token> {
///         // From wherever they are kept.
///         Ok(Token::new("s3cret"))
///     }
/// }
/// ```
#[async_trait]
pub trait TokenProvider: fmt::Debug + Send + Sync + 'static {
    /// The token to show now. Asked for each sync.
    ///
    /// # Errors
    ///
    /// `Unavailable` where another try may help; all others mean that there is none.
    ///
    /// # Cancel safety
    ///
    /// Has to be safe: a sync that ends early drops it.
    async fn token(&self) -> Result<Token>;

    /// The server has refused the last token. Whoever keeps tokens keeps it no longer: [`token`](Self::token) is asked
    /// once more, and another token is shown once.
    async fn refused(&self) {}
}

/// A secret that a server takes in place of a password. It is never shown, and gone from memory once it is dropped.
///
/// ```
/// use fastflow_core::source::Token;
///
/// assert_eq!(format!("{:?}", Token::new("s3cret")), "Token(…)");
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// A token, without the blanks around it.
    pub fn new(text: impl Into<String>) -> Self {
        let text = Zeroizing::new(text.into());
        Self(Zeroizing::new(text.trim().to_owned()))
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// What a request over HTTP shows.
    pub(super) fn basic(&self, username: &str) -> Zeroizing<String> {
        let pair = Zeroizing::new(format!("{username}:{}", self.reveal()));
        Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())))
    }

    /// The text without this token, in case that a server repeats what it was shown.
    pub(super) fn redact(&self, text: &str, username: &str) -> String {
        if self.reveal().is_empty() {
            return text.to_owned();
        }
        let basic = self.basic(username);
        let encoded = basic.strip_prefix("Basic ").unwrap_or(&basic);
        text.replace(self.reveal(), "…").replace(encoded, "…")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[async_trait]
impl TokenProvider for Token {
    async fn token(&self) -> Result<Token> {
        Ok(self.clone())
    }
}

#[derive(Debug)]
struct TokenFile(PathBuf);

#[async_trait]
impl TokenProvider for TokenFile {
    async fn token(&self) -> Result<Token> {
        let text = read_secret(&self.0, MAX_TOKEN_BYTES)?;
        if text.trim().is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "the file of the token is empty")
                .with("path", self.0.display()));
        }
        Ok(Token::new(text.as_str()))
    }
}

struct TokenFunction(Box<dyn Fn() -> Result<Token> + Send + Sync>);

impl fmt::Debug for TokenFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenFunction")
    }
}

#[async_trait]
impl TokenProvider for TokenFunction {
    async fn token(&self) -> Result<Token> {
        (self.0)()
    }
}

/// A small file of text that is forgotten after use.
pub(super) fn read_secret(path: &Path, max_bytes: u64) -> Result<Zeroizing<String>> {
    let failed = |error| Error::from(error).with("path", path.display());
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > max_bytes {
        return Err(Error::new(ErrorKind::Invalid, "the file is too large to be a token or a key")
            .with("path", path.display())
            .with("max_bytes", max_bytes));
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_repeats_of_a_token_is_not_shown() {
        let token = Token::new("s3cret");
        let encoded = BASE64_STANDARD.encode("ada:s3cret");
        let said = format!("no s3cret for you: {encoded}, s3cret");
        assert_eq!(token.redact(&said, "ada"), "no … for you: …, …");
        assert_eq!(Token::new("").redact("all of it", "ada"), "all of it");
    }
}
