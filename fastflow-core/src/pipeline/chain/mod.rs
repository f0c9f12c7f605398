//! Which pipelines follow which, as one graph.

mod cycle;
mod mermaid;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{Definition, DownstreamTrigger};
use crate::PipelineName;

pub use self::cycle::Cycle;

/// Which pipelines follow which: what `downstream_triggers` and `after` say, as data that can be drawn.
///
/// ```
/// use fastflow_core::pipeline::{Definition, DownstreamTrigger, Graph};
///
/// let mut etl = Definition::default();
/// etl.downstream_triggers.push(DownstreamTrigger::on_success_of("report".parse().unwrap()));
/// let graph = Graph::of([(&"etl".parse().unwrap(), Some(&etl))]);
/// assert_eq!(graph.missing().next().unwrap().name.as_str(), "report");
/// assert!(graph.cycles().is_empty());
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// All pipelines, by name, and those that do not exist and are named by others.
    pub nodes: Vec<Node>,
    /// Which follow which, each relation once, in order.
    pub edges: Vec<Edge>,
}

/// A pipeline in a [`Graph`].
///
/// ```
/// use fastflow_core::pipeline::Node;
///
/// let node = Node { name: "etl".parse().unwrap(), exists: true };
/// assert_eq!(serde_json::to_string(&node).unwrap(), r#"{"name":"etl","exists":true}"#);
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: PipelineName,
    /// Whether there is such a pipeline.
    pub exists: bool,
}

/// That the end of one pipeline's run starts another pipeline, or counts for it.
///
/// ```
/// use fastflow_core::pipeline::{Edge, EdgeKind};
///
/// let edge = Edge { from: "a".parse().unwrap(), to: "b".parse().unwrap(), kind: EdgeKind::After };
/// assert_eq!(serde_json::to_string(&edge).unwrap(), r#"{"from":"a","to":"b","kind":"after"}"#);
/// ```
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Edge {
    /// The pipeline whose run ends.
    pub from: PipelineName,
    /// The pipeline that follows.
    pub to: PipelineName,
    /// On which ends.
    pub kind: EdgeKind,
}

/// On which ends of a run another pipeline follows.
///
/// ```
/// use fastflow_core::pipeline::EdgeKind;
///
/// assert_eq!(serde_json::to_string(&EdgeKind::Route("large".into())).unwrap(), r#"{"route":"large"}"#);
/// ```
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EdgeKind {
    /// Success.
    Success,
    /// Failure.
    Failure,
    /// Success and failure.
    AnyEnd,
    /// The route that the run named.
    Route(String),
    /// Success, together with that of all others that the follower's `after` names.
    After,
}

impl Graph {
    /// The graph of these pipelines; those without a definition are there and cannot be read.
    pub fn of<'a>(pipelines: impl IntoIterator<Item = (&'a PipelineName, Option<&'a Definition>)>) -> Self {
        let mut nodes: BTreeMap<&PipelineName, bool> = BTreeMap::new();
        let mut edges = BTreeSet::new();
        for (name, definition) in pipelines {
            nodes.insert(name, true);
            for (from, to, kind) in definition.into_iter().flat_map(|definition| links(name, definition)) {
                for end in [from, to] {
                    nodes.entry(end).or_insert(false);
                }
                edges.insert(Edge { from: from.clone(), to: to.clone(), kind });
            }
        }
        let node = |(name, exists): (&PipelineName, bool)| Node { name: name.clone(), exists };
        Self { nodes: nodes.into_iter().map(node).collect(), edges: edges.into_iter().collect() }
    }

    /// The pipelines that are named by others and do not exist.
    pub fn missing(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| !node.exists)
    }

    /// For each node, by its place, the places of those that follow it.
    fn followers(&self) -> Vec<Vec<usize>> {
        let places: HashMap<&PipelineName, usize> =
            self.nodes.iter().enumerate().map(|(place, node)| (&node.name, place)).collect();
        let mut followers = vec![Vec::new(); self.nodes.len()];
        for edge in &self.edges {
            // Edges of a graph that was put together by hand may name what is no node.
            if let (Some(from), Some(to)) = (places.get(&edge.from), places.get(&edge.to))
                && followers[*from].last() != Some(to)
            {
                followers[*from].push(*to);
            }
        }
        followers
    }
}

/// What a definition says of what follows what.
fn links<'a>(
    name: &'a PipelineName,
    definition: &'a Definition,
) -> impl Iterator<Item = (&'a PipelineName, &'a PipelineName, EdgeKind)> {
    let triggers = definition.downstream_triggers.iter();
    let triggers = triggers.filter_map(move |trigger| Some((name, &trigger.pipeline, kind(trigger)?)));
    triggers.chain(definition.after.iter().map(move |first| (first, name, EdgeKind::After)))
}

/// On which ends a trigger starts; none when it never does.
fn kind(trigger: &DownstreamTrigger) -> Option<EdgeKind> {
    match (&trigger.on_route, trigger.on_success, trigger.on_failure) {
        (Some(route), _, _) => Some(EdgeKind::Route(route.clone())),
        (None, true, true) => Some(EdgeKind::AnyEnd),
        (None, true, false) => Some(EdgeKind::Success),
        (None, false, true) => Some(EdgeKind::Failure),
        (None, false, false) => None,
    }
}

/// Whether the end of a run of `name` leads to another run of it, by what these pipelines say. It looks only at what
/// can be reached from there, so that it can be asked before each run.
pub(crate) fn is_in_cycle<'a>(
    name: &PipelineName,
    pipelines: impl IntoIterator<Item = (&'a PipelineName, &'a Definition)>,
) -> bool {
    let mut followers: HashMap<&PipelineName, Vec<&PipelineName>> = HashMap::new();
    for (name, definition) in pipelines {
        for (from, to, _) in links(name, definition) {
            followers.entry(from).or_default().push(to);
        }
    }
    let mut seen = HashSet::new();
    let mut open = vec![name];
    while let Some(at) = open.pop() {
        for next in followers.get(at).into_iter().flatten() {
            if *next == name {
                return true;
            }
            if seen.insert(*next) {
                open.push(next);
            }
        }
    }
    false
}
