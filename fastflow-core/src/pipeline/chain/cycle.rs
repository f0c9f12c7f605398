//! Circles in a graph of pipelines.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
};

use super::Graph;
use crate::PipelineName;

/// Pipelines each of which is followed by the next one, and the last by the first.
///
/// ```
/// use fastflow_core::pipeline::{Definition, DownstreamTrigger, Graph};
///
/// let [a, b] = ["a", "b"].map(|name| name.parse().unwrap());
/// let starts = |other: &_| {
///     let mut definition = Definition::default();
///     definition.downstream_triggers.push(DownstreamTrigger::on_success_of(std::clone::Clone::clone(other)));
///     definition
/// };
/// let graph = Graph::of([(&a, Some(&starts(&b))), (&b, Some(&starts(&a)))]);
/// assert_eq!(graph.cycles()[0].to_string(), "a -> b -> a");
/// ```
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Cycle(Vec<PipelineName>);

impl Cycle {
    /// How many names [`seen_from`](Self::seen_from) shows.
    const MAX_SHOWN: usize = 10;

    /// The pipelines, each once, in their order, from the least name on.
    pub fn pipelines(&self) -> &[PipelineName] {
        &self.0
    }

    /// The path from `name` back to it; of a long one, the middle is left out. From the least name on where `name` is
    /// no part of it.
    pub fn seen_from(&self, name: &PipelineName) -> String {
        let count = self.0.len();
        let start = self.0.iter().position(|one| one == name).unwrap_or_default();
        let at = |step: usize| self.0[(start + step) % count].as_str();
        let mut path: Vec<String> = Vec::new();
        for step in 0..=count {
            let is_shown = step < Self::MAX_SHOWN / 2 || step + Self::MAX_SHOWN / 2 > count;
            if count <= Self::MAX_SHOWN || is_shown {
                path.push(at(step).to_owned());
            } else if step == Self::MAX_SHOWN / 2 {
                path.push(format!("… {} more …", count + 1 - Self::MAX_SHOWN));
            }
        }
        path.join(" -> ")
    }
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().chain(self.0.first()).enumerate() {
            write!(f, "{}{name}", if index == 0 { "" } else { " -> " })?;
        }
        Ok(())
    }
}

impl Graph {
    /// The most cycles that are looked for beside one in each group of pipelines that lead to each other: there can be
    /// more cycles than anybody can count.
    pub const MAX_FURTHER_CYCLES: usize = 100;

    /// The cycles, each once, sorted. Each group of pipelines that lead to each other has one at least, and each
    /// pipeline of it is in one as long as there are not more than [`MAX_FURTHER_CYCLES`](Self::MAX_FURTHER_CYCLES).
    ///
    /// Takes time in proportion to the edges, however they lie, and no deep stack.
    pub fn cycles(&self) -> Vec<Cycle> {
        let mut cycles = self.circles().cycles;
        cycles.sort();
        cycles
    }

    /// The cycles, and of which each pipeline is to be told.
    pub(crate) fn circles(&self) -> Circles {
        let followers = self.followers();
        let group = groups(&followers);
        // Only ways within one group lead back.
        let inside: Vec<Vec<usize>> = followers
            .iter()
            .enumerate()
            .map(|(from, to)| to.iter().copied().filter(|to| group[*to] == group[from]).collect())
            .collect();
        let (mut cycles, mut told_of) = (Vec::new(), HashMap::new());
        let mut first_of_group = HashMap::new();
        let mut left = Self::MAX_FURTHER_CYCLES;
        for place in (0..inside.len()).filter(|place| !inside[*place].is_empty()) {
            if told_of.contains_key(&place) {
                continue;
            }
            if let Some(first) = first_of_group.get(&group[place]) {
                if left == 0 {
                    told_of.insert(place, *first);
                    continue;
                }
                left -= 1;
            }
            let Some(circle) = shortest(&inside, place) else { continue };
            first_of_group.entry(group[place]).or_insert(cycles.len());
            for member in &circle {
                told_of.entry(*member).or_insert(cycles.len());
            }
            cycles.push(Cycle(circle.into_iter().map(|place| self.nodes[place].name.clone()).collect()));
        }
        let name = |(place, cycle): (usize, usize)| (self.nodes[place].name.clone(), cycle);
        Circles { cycles, told_of: told_of.into_iter().map(name).collect() }
    }
}

/// Cycles, and which of them each pipeline is to be told of: one that it is in, else one of its group.
#[derive(Debug)]
pub(crate) struct Circles {
    cycles: Vec<Cycle>,
    told_of: HashMap<PipelineName, usize>,
}

impl Circles {
    /// A cycle that keeps this pipeline from being run.
    pub(crate) fn of(&self, name: &PipelineName) -> Option<&Cycle> {
        self.told_of.get(name).map(|cycle| &self.cycles[*cycle])
    }
}

/// The shortest way from `start` back to it, from the least place on.
fn shortest(followers: &[Vec<usize>], start: usize) -> Option<Vec<usize>> {
    let mut came_from = HashMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(at) = open.pop_front() {
        for next in &followers[at] {
            if *next == start {
                let mut way = vec![at];
                while let Some(before) = way.last().and_then(|place| came_from.get(place)) {
                    way.push(*before);
                }
                way.reverse();
                let least = (0..way.len()).min_by_key(|index| way[*index])?;
                way.rotate_left(least);
                return Some(way);
            }
            if !came_from.contains_key(next) {
                came_from.insert(*next, at);
                open.push_back(*next);
            }
        }
    }
    None
}

/// The number of the group of each node: nodes of one group lead to each other (Tarjan's strongly connected
/// components, without recursion).
fn groups(followers: &[Vec<usize>]) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let mut order = vec![NONE; followers.len()];
    let mut lowest = vec![NONE; followers.len()];
    let mut group = vec![NONE; followers.len()];
    let (mut open, mut way) = (Vec::new(), Vec::new());
    let (mut seen, mut found) = (0, 0);
    for start in 0..followers.len() {
        if order[start] == NONE {
            way.push((start, 0));
        }
        while let Some((at, next)) = way.last_mut() {
            let at = *at;
            if *next == 0 {
                (order[at], lowest[at]) = (seen, seen);
                seen += 1;
                open.push(at);
            }
            if let Some(&to) = followers[at].get(*next) {
                *next += 1;
                if order[to] == NONE {
                    way.push((to, 0));
                } else if group[to] == NONE {
                    lowest[at] = lowest[at].min(order[to]);
                }
                continue;
            }
            way.pop();
            if let Some((before, _)) = way.last() {
                lowest[*before] = lowest[*before].min(lowest[at]);
            }
            if lowest[at] == order[at] {
                while let Some(member) = open.pop() {
                    group[member] = found;
                    if member == at {
                        break;
                    }
                }
                found += 1;
            }
        }
    }
    group
}
