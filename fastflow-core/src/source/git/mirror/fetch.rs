//! One fetch: what is there, and what of it is not here.

use std::{
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use gix::{
    ObjectId,
    bstr::ByteSlice as _,
    progress::Discard,
    protocol::{fetch::RefMap, handshake::Ref, transport::client::blocking_io::Transport},
    refs::{FullName, transaction::PreviousValue},
    remote::{
        Direction,
        fetch::{Shallow, Tags, refmap::Source},
        ref_map::Options,
    },
};
use sha2::{Digest as _, Sha256};

use super::{
    Arrived, Mirror,
    failure::{Stage, failure},
    place, read,
};
use crate::{
    hex::hex,
    source::{
        GitAccess, GitReference, SyncFailure, SyncFailureKind as Kind,
        git::{access::Token, ssh::Pinning, watch::Watch},
    },
};

/// How much of the history comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum History {
    /// The commit and nothing before it.
    None,
    /// All that is not here.
    New,
}

/// One fetch: what, how much of it, and into which repository.
#[derive(Clone, Copy)]
struct Errand<'a> {
    folder: &'a Path,
    wanted: &'a Wanted<'a>,
    history: History,
}

/// What is asked for: a reference of the server, and under which name it is kept here.
pub(super) struct Wanted<'a> {
    reference: &'a GitReference,
    remote: String,
    local: String,
}

/// What the server has under that name.
pub(super) struct Tip {
    /// The full name of the branch or the tag.
    name: String,
    id: ObjectId,
    /// The commit, where a tag stands before it.
    pub(super) commit: ObjectId,
}

impl Mirror {
    /// Fetches into the repository in `folder`.
    pub(super) fn fetch_into(
        &self,
        folder: &Path,
        reference: &GitReference,
        watch: &Arc<Watch>,
    ) -> Result<Arrived, SyncFailure> {
        let wanted = Wanted::of(reference)?;
        place::make(folder)?;
        let arrived = self.with_access(watch, |token, watch| {
            let errand = Errand { folder, wanted: &wanted, history: History::New };
            match self.fetch_once(errand, token, watch) {
                // A history that was rewritten comes as a whole. Only its end is needed.
                Err(failure) if failure.kind == Kind::TooLarge => {
                    let errand = Errand { history: History::None, ..errand };
                    self.fetch_once(errand, token, &watch.apart())
                }
                first => first,
            }
        })?;
        self.origin().write(folder)?;
        Ok(arrived)
    }

    fn fetch_once(
        &self,
        errand: Errand<'_>,
        token: Option<&Token>,
        watch: &Arc<Watch>,
    ) -> Result<Arrived, SyncFailure> {
        let line = self.line(token, Pinning::Keep, watch)?;
        let (transport, program) = (line.transport, line.program);
        let work = |stop: &AtomicBool| self.exchange(errand, transport, stop, watch);
        // What git makes of a server's bytes may panic: that is a damaged answer, and not the end of the host.
        let fetched = catch_unwind(AssertUnwindSafe(|| watch.over(work))).unwrap_or_else(|_| {
            let message =
                "what the server sent could not be understood, in a way that git's library does not expect";
            Err(SyncFailure::new(Kind::Corrupt, message))
        });
        fetched.map_err(|failure| self.explained(failure, program.as_ref(), watch))
    }

    fn exchange(
        &self,
        Errand { folder, wanted, history }: Errand<'_>,
        transport: Box<dyn Transport + Send>,
        stop: &AtomicBool,
        watch: &Arc<Watch>,
    ) -> Result<Arrived, SyncFailure> {
        let at = |stage| move |error: gix::Error| failure(&error, stage, watch);
        let repository = read::open(folder).map_err(at(Stage::Here))?;
        let remote = repository
            .remote_at_without_url_rewrite(self.remote.to_string().as_str())
            .and_then(|remote| remote.with_refspecs([wanted.spec().as_str()], Direction::Fetch))
            .map_err(at(Stage::Here))?
            .with_fetch_tags(Tags::None);
        let connection = remote
            .to_connection_with_transport(transport)
            .with_credentials(|_| Ok(None))
            .with_transport_options(Box::new(()));
        let prepared = connection.prepare_fetch(Discard, Options::default()).map_err(at(Stage::Asking))?;
        let tip = wanted.tip(prepared.ref_map()).ok_or_else(|| self.nothing(wanted.reference))?;
        if read::is_whole(&repository, tip.commit).map_err(at(Stage::Here))? {
            drop(prepared);
        } else {
            let known = repository.try_find_reference(wanted.local.as_str()).map_err(at(Stage::Here))?;
            let shallow = match history {
                History::New if known.is_some() => Shallow::NoChange,
                _ => Shallow::DepthAtRemote(NonZeroU32::MIN),
            };
            prepared.with_shallow(shallow).receive(Discard, stop).map_err(at(Stage::Fetching))?;
        }
        let commit = read::peeled(&repository, tip.id).map_err(at(Stage::Fetching))?;
        let Some(commit) = commit else {
            return Err(SyncFailure::new(Kind::Refused, format!("{} does not name a commit", tip.name)));
        };
        if !read::is_whole(&repository, commit).map_err(at(Stage::Fetching))? {
            return Err(SyncFailure::new(Kind::Corrupt, "the server did not send the commit that it named"));
        }
        let name = wanted.local.as_str();
        repository.reference(name, tip.id, PreviousValue::Any, "").map_err(at(Stage::Here))?;
        let commit = read::commit(&repository, commit, &tip.name).map_err(at(Stage::Here))?;
        Ok(Arrived { commit, bytes: watch.received() })
    }

    pub(super) fn nothing(&self, reference: &GitReference) -> SyncFailure {
        let message = match reference {
            GitReference::Head => format!("{} has no default branch, or no commit in it", self.remote),
            named => format!("{} has no {named}", self.remote),
        };
        SyncFailure::new(Kind::Missing, message)
    }

    /// Runs work with the token that is to be shown, once more with another one if the server refuses it.
    pub(super) fn with_access<T>(
        &self,
        watch: &Arc<Watch>,
        work: impl Fn(Option<&Token>, &Arc<Watch>) -> Result<T, SyncFailure>,
    ) -> Result<T, SyncFailure> {
        let GitAccess::Token(access) = &self.config.access else { return work(None, watch) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(crate::Error::from)?;
        let ask = || -> Result<Token, SyncFailure> {
            let asked = runtime.block_on(watch.wait(access.provider.token()));
            let asked = asked.map_err(|error| {
                watch.cause().unwrap_or_else(|| SyncFailure::new(Kind::Internal, error.to_string()))
            })?;
            asked.map_err(|error| {
                let kind = if error.is_transient() { Kind::Unreachable } else { Kind::Authentication };
                SyncFailure::new(kind, format!("there is no token to show: {}", error.chain()))
            })
        };
        let tried = |token: &Token| {
            work(Some(token), &watch.apart()).map_err(|failure| {
                SyncFailure::new(failure.kind, token.redact(&failure.message, &access.username))
            })
        };
        let token = ask()?;
        match tried(&token) {
            Err(failure) if failure.kind == Kind::Authentication => {
                runtime.block_on(watch.wait(access.provider.refused())).map_err(crate::Error::from)?;
                let other = ask()?;
                if other == token { Err(failure) } else { tried(&other) }
            }
            first => first,
        }
    }
}

impl<'a> Wanted<'a> {
    pub(super) fn of(reference: &'a GitReference) -> Result<Self, SyncFailure> {
        let remote = match reference {
            GitReference::Head => "HEAD".to_owned(),
            GitReference::Branch(name) => format!("refs/heads/{name}"),
            GitReference::Tag(name) => format!("refs/tags/{name}"),
        };
        if FullName::try_from(remote.as_str()).is_err() {
            return Err(SyncFailure::new(
                Kind::Refused,
                format!("this cannot be the name of one: {reference}"),
            ));
        }
        // Names of branches may lie in each other's way, one being the folder of the other.
        let local = format!("refs/fastflow/tip/{:.16}", hex(&Sha256::digest(&remote)));
        Ok(Self { reference, remote, local })
    }

    pub(super) fn spec(&self) -> String {
        format!("+{}:{}", self.remote, self.local)
    }

    pub(super) fn tip(&self, map: &RefMap) -> Option<Tip> {
        map.mappings.iter().find_map(|mapping| {
            let source = &mapping.remote;
            if source.as_name()? != self.remote.as_bytes().as_bstr() {
                return None;
            }
            let name = match source {
                Source::Ref(Ref::Symbolic { target, .. }) => target.to_string(),
                _ => self.remote.clone(),
            };
            Some(Tip { name, id: source.as_id()?.to_owned(), commit: source.peeled_id()?.to_owned() })
        })
    }
}
