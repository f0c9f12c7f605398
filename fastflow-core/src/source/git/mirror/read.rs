//! Reading what is in the repository.

use std::path::Path;

use gix::{ObjectId, Repository, object::Kind, objs::commit::MessageRef};

use super::place;
use crate::{
    Timestamp,
    source::{Commit, CommitId, Distance},
};

/// The most commits that are counted in each direction.
const MAX_DISTANCE: usize = 100_000;

/// Opens a repository of ours, which is sound by then, with nobody's configuration. Makes none.
pub(super) fn open(folder: &Path) -> gix::Result<Repository> {
    place::settle(folder).map_err(gix::Error::from_error)?;
    let options = gix::open::Options::isolated().open_path_as_is(true).with(gix::sec::Trust::Full);
    Ok(options.open(folder)?.to_thread_local())
}

/// Whether a commit is here with its files: they come together. What is here and cannot be read is an error.
pub(super) fn is_whole(repository: &Repository, id: ObjectId) -> gix::Result<bool> {
    let Some(object) = repository.try_find_object(id)? else { return Ok(false) };
    if object.kind == Kind::Commit {
        object.try_into_commit().map_err(gix::Error::from_error)?.tree()?;
    }
    Ok(true)
}

/// The commit that a reference names, through tags; none if it is something else.
pub(super) fn peeled(repository: &Repository, id: ObjectId) -> gix::Result<Option<ObjectId>> {
    let object = repository.find_object(id)?.peel_tags_to_end()?;
    Ok((object.kind == Kind::Commit).then_some(object.id))
}

/// What a commit says of itself.
pub(super) fn commit(repository: &Repository, id: ObjectId, reference: &str) -> gix::Result<Commit> {
    let commit = repository.find_commit(id)?;
    let decoded = commit.decode()?;
    let author = decoded.author()?.name.to_string();
    let subject = MessageRef::from_bytes(decoded.message).summary().to_string();
    let seconds = commit.time()?.seconds;
    let at = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Commit::new(commit_id(id), reference, &author, &subject, at))
}

pub(super) fn commit_id(id: ObjectId) -> CommitId {
    // Both are the same digits.
    id.to_hex().to_string().parse().unwrap_or_else(|_| unreachable!("an object's name is one of a commit"))
}

/// How two commits lie to each other, as far as their history is here.
pub(super) fn distance(
    repository: &Repository,
    from: ObjectId,
    to: ObjectId,
) -> gix::Result<Option<Distance>> {
    if from == to {
        return Ok(Some(Distance::default()));
    }
    if !repository.has_object(from) || !repository.has_object(to) {
        return Ok(None);
    }
    if repository.merge_bases_many(from, &[to])?.is_empty() {
        return Ok(None);
    }
    let count = |of: ObjectId, without: ObjectId| -> gix::Result<u32> {
        let mut count = 0;
        for commit in repository.rev_walk([of]).with_hidden([without]).all()?.take(MAX_DISTANCE) {
            commit?;
            count += 1;
        }
        Ok(count)
    };
    Ok(Some(Distance { ahead: count(from, to)?, behind: count(to, from)? }))
}
