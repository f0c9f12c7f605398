//! Looking at a server without changing anything.

use std::sync::{Arc, atomic::AtomicBool};

use gix::{
    progress::Discard,
    protocol::{
        self,
        fetch::{RefMap, refmap::init::Context},
        transport::{Service, client::blocking_io::Transport},
    },
    refspec::{RefSpec, parse::Operation},
};

use super::{
    Mirror,
    failure::{Stage, failure},
    fetch::Wanted,
    read,
};
use crate::source::{
    GitReference, Probe, SyncFailure,
    git::{access::Token, remote::Scheme, ssh::Pinning, watch::Watch},
};

/// The most branches that are named.
const MAX_BRANCHES: usize = 1_000;

impl Mirror {
    /// What the server has, without anything being fetched or pinned.
    ///
    /// # Errors
    ///
    /// A [`SyncFailure`] that says why that could not be found out.
    pub fn probe(&self, reference: &GitReference, interrupt: &Arc<AtomicBool>) -> Result<Probe, SyncFailure> {
        self.place.prepare()?;
        let watch = self.watch(interrupt);
        let wanted = Wanted::of(reference)?;
        let map = self.with_access(&watch, |token, watch| self.look(&wanted, token, watch))?;
        let tip = wanted.tip(&map).ok_or_else(|| self.nothing(reference))?;
        let mut branches: Vec<_> = map.remote_refs.iter().filter_map(branch).take(MAX_BRANCHES).collect();
        branches.sort();
        let host_key = match self.remote.scheme {
            Scheme::Ssh => self.ssh()?.shown(&watch)?.map(|key| key.fingerprint()),
            _ => None,
        };
        Ok(Probe { commit: Some(read::commit_id(tip.commit)), branches, host_key })
    }

    fn look(
        &self,
        wanted: &Wanted<'_>,
        token: Option<&Token>,
        watch: &Arc<Watch>,
    ) -> Result<RefMap, SyncFailure> {
        let line = self.line(token, Pinning::Once, watch)?;
        let (mut transport, program) = (line.transport, line.program);
        let looked = watch.over(|_: &AtomicBool| ask(&mut transport, wanted));
        let looked = looked.map_err(|error| failure(&error, Stage::Asking, watch));
        looked.map_err(|failure| self.explained(failure, program.as_ref(), watch))
    }
}

fn ask(transport: &mut Box<dyn Transport + Send>, wanted: &Wanted<'_>) -> gix::Result<RefMap> {
    let mut handshake =
        protocol::handshake(&mut *transport, Service::UploadPack, |_| Ok(None), Vec::new(), &mut Discard)?;
    let specs = [wanted.spec(), "+refs/heads/*:refs/heads/*".to_owned()];
    let specs = specs.iter().map(|spec| {
        let parsed = gix::refspec::parse(spec.as_str().into(), Operation::Fetch)?;
        Ok(parsed.to_owned())
    });
    let fetch_refspecs = specs.collect::<gix::Result<Vec<RefSpec>>>()?;
    let context = Context { fetch_refspecs, extra_refspecs: Vec::new() };
    let agent = ("agent", Some("fast-flow".into()));
    let map = handshake.prepare_lsrefs_or_extract_refmap(agent, true, context)?.fetch_blocking(
        Discard,
        &mut *transport,
        false,
    )?;
    // The server would wait for more. It is not asked for anything then, so what it says of that does not matter.
    let _ = protocol::indicate_end_of_interaction(transport, false);
    Ok(map)
}

fn branch(reference: &protocol::handshake::Ref) -> Option<String> {
    let name = reference.unpack().0.to_string();
    name.strip_prefix("refs/heads/").map(str::to_owned)
}
