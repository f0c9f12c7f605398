//! Pipelines that follow each other, as a graph.

use std::collections::{BTreeMap, BTreeSet};

use fastflow_core::{PipelineName, pipeline::*};
use proptest::prelude::*;

use super::good;

fn name(text: &str) -> PipelineName {
    text.parse().unwrap()
}

/// A graph in which each pipeline starts those that are named with it.
fn graph(pipelines: &[(&str, &[&str])]) -> Graph {
    let definitions: BTreeMap<PipelineName, Definition> = pipelines
        .iter()
        .map(|(from, to)| {
            let starts = |to: &&str| DownstreamTrigger::on_success_of(name(to));
            let mut definition = Definition::default();
            definition.downstream_triggers = to.iter().map(starts).collect();
            (name(from), definition)
        })
        .collect();
    Graph::of(definitions.iter().map(|(name, definition)| (name, Some(definition))))
}

fn cycles(pipelines: &[(&str, &[&str])]) -> Vec<String> {
    graph(pipelines).cycles().iter().map(ToString::to_string).collect()
}

#[test]
fn each_relation_is_an_edge_of_its_kind() {
    let a = good(
        r#"{"after": ["z"], "downstream_triggers": [{"pipeline": "b"}, {"pipeline": "b", "on_failure": true},
            {"pipeline": "c", "on_success": false, "on_failure": true}, {"pipeline": "c", "on_route": "big \"x\""},
            {"pipeline": "b", "run_config_id": "x"}]}"#,
    );
    let graph = Graph::of([(&name("a"), Some(&a)), (&name("b"), None), (&name("end"), None)]);
    let nodes: Vec<_> = graph.nodes.iter().map(|node| (node.name.as_str(), node.exists)).collect();
    assert_eq!(nodes, [("a", true), ("b", true), ("c", false), ("end", true), ("z", false)]);
    let edge = |from: &str, to: &str, kind| Edge { from: name(from), to: name(to), kind };
    let edges = [
        edge("a", "b", EdgeKind::Success),
        edge("a", "b", EdgeKind::AnyEnd),
        edge("a", "c", EdgeKind::Failure),
        edge("a", "c", EdgeKind::Route("big \"x\"".into())),
        edge("z", "a", EdgeKind::After),
    ];
    assert_eq!(graph.edges, edges);
    let json = serde_json::to_string(&graph).unwrap();
    assert_eq!(serde_json::from_str::<Graph>(&json).unwrap(), graph);
    let lines = [
        "flowchart LR",
        "    n0[\"a\"]",
        "    n1[\"b\"]",
        "    n2[\"c\"]:::missing",
        "    n3[\"end\"]",
        "    n4[\"z\"]:::missing",
        "    n0 -->|\"success\"| n1",
        "    n0 -->|\"any end\"| n1",
        "    n0 -->|\"failure\"| n2",
        "    n0 -->|\"route big #34;x#34;\"| n2",
        "    n4 -.->|\"after\"| n0",
        "    classDef missing stroke-dasharray: 4",
    ];
    assert_eq!(graph.mermaid().lines().collect::<Vec<_>>(), lines);
}

#[test]
fn a_route_cannot_break_out_of_its_label() {
    let mut definition = Definition::default();
    let route = "\"| n0\n<script>;%%{init}%%`#35;".to_owned();
    let trigger = DownstreamTrigger::on_success_of(name("a"));
    definition.downstream_triggers = vec![DownstreamTrigger { on_route: Some(route), ..trigger }];
    let text = Graph::of([(&name("b"), Some(&definition))]).mermaid();
    let line = text.lines().find(|line| line.contains("route")).unwrap();
    let label = line.strip_prefix("    n1 -->|\"").unwrap().strip_suffix("\"| n0").unwrap();
    assert!(label.chars().all(|c| c.is_alphanumeric() || " #;".contains(c)), "{label}");
    assert!(label.contains("#60;script#62;") && label.contains("#35;35#59;"), "{label}");
}

#[test]
fn each_cycle_is_found_once_with_its_path() {
    assert_eq!(cycles(&[("a", &["b"]), ("b", &["c"]), ("c", &["d"]), ("x", &["c"])]), [""; 0]);
    assert_eq!(
        cycles(&[("b", &["c"]), ("c", &["a"]), ("a", &["b", "b"]), ("x", &["a"])]),
        ["a -> b -> c -> a"]
    );
    assert_eq!(cycles(&[("a", &["a"])]), ["a -> a"]);
    let two = cycles(&[("d", &["c"]), ("c", &["d", "a"]), ("a", &["b"]), ("b", &["a"])]);
    assert_eq!(two, ["a -> b -> a", "c -> d -> c"]);
    // Both cycles of one group, which share a pipeline.
    let both = cycles(&[("a", &["b", "c"]), ("b", &["a"]), ("c", &["a"])]);
    assert_eq!(both, ["a -> b -> a", "a -> c -> a"]);
    let after = good(r#"{"after": ["a"], "downstream_triggers": [{"pipeline": "a"}]}"#);
    let graph = Graph::of([(&name("a"), None), (&name("b"), Some(&after))]);
    assert_eq!(graph.cycles()[0].to_string(), "a -> b -> a", "of both kinds of relations");
    let nothing = r#"{"downstream_triggers": [{"pipeline": "a", "on_success": false}]}"#;
    let (nothing, _) = parse_manifest("pipeline.json", nothing);
    assert!(
        Graph::of([(&name("a"), nothing.as_ref())]).cycles().is_empty(),
        "what starts nothing leads nowhere"
    );
}

#[test]
fn a_long_cycle_is_shown_from_where_one_stands() {
    let ring = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("p{n:05}")).collect();
        let next = |n: usize| names[(n + 1) % count].as_str();
        let definitions: Vec<(PipelineName, Definition)> = (0..count)
            .map(|n| {
                let mut definition = Definition::default();
                definition.downstream_triggers = vec![DownstreamTrigger::on_success_of(name(next(n)))];
                (name(&names[n]), definition)
            })
            .collect();
        Graph::of(definitions.iter().map(|(name, definition)| (name, Some(definition))))
    };
    let short = &ring(3).cycles()[0];
    assert_eq!(short.seen_from(&name("p00001")), "p00001 -> p00002 -> p00000 -> p00001");
    // So many that recursion would have no stack left.
    let graph = ring(10_000);
    let cycles = graph.cycles();
    assert_eq!((cycles.len(), cycles[0].pipelines().len()), (1, 10_000));
    assert_eq!(
        cycles[0].seen_from(&name("p00007")),
        "p00007 -> p00008 -> p00009 -> p00010 -> p00011 -> … 9991 more … -> p00003 -> p00004 -> p00005 -> p00006 \
         -> p00007"
    );
}

#[test]
fn more_cycles_than_anybody_counts_are_bounded() {
    // Each of 12 names leads to each: more than 10^8 cycles.
    let names: Vec<String> = (0..12).map(|n| format!("p{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let all: Vec<(&str, &[&str])> = names.iter().map(|from| (*from, names.as_slice())).collect();
    let cycles = graph(&all).cycles();
    assert!(cycles.len() <= 1 + Graph::MAX_FURTHER_CYCLES);
    let told: BTreeSet<&PipelineName> = cycles.iter().flat_map(Cycle::pipelines).collect();
    assert_eq!(told.len(), 12, "each is in one that is told");
    // A ring of 4000 with 4000 ways around one of its steps.
    let mut definitions: BTreeMap<PipelineName, Definition> = BTreeMap::new();
    let mut starts = |from: String, to: String| {
        let trigger = DownstreamTrigger::on_success_of(name(&to));
        definitions.entry(name(&from)).or_default().downstream_triggers.push(trigger);
    };
    for n in 0..4000 {
        starts(format!("a{n}"), format!("a{}", (n + 1) % 4000));
        starts(format!("a{n}"), format!("b{n}"));
        starts(format!("b{n}"), format!("a{}", (n + 1) % 4000));
    }
    let graph = Graph::of(definitions.iter().map(|(name, definition)| (name, Some(definition))));
    assert_eq!(graph.cycles().len(), 1 + Graph::MAX_FURTHER_CYCLES);
}

#[test]
fn groups_that_are_apart_have_their_own_cycles_however_many_there_are() {
    // All lead to one that leads nowhere, and is looked at first.
    let names: Vec<(String, String)> = (0..300).map(|n| (format!("p{n:03}"), format!("q{n:03}"))).collect();
    let starts: Vec<[&str; 3]> = names.iter().map(|(p, q)| ["a", q.as_str(), p.as_str()]).collect();
    let mut pipelines: Vec<(&str, &[&str])> = vec![("a", &[])];
    for [p, ways] in names.iter().zip(&starts).map(|((p, q), to)| [(p, &to[..2]), (q, &to[2..])]) {
        pipelines.extend([(p.0.as_str(), p.1), (ways.0.as_str(), ways.1)]);
    }
    let cycles = cycles(&pipelines);
    assert_eq!((cycles.len(), cycles[299].as_str()), (300, "p299 -> q299 -> p299"));
}

proptest! {
    /// Held against the plain definition: a pipeline is in a cycle when it is reached from itself.
    #[test]
    fn exactly_what_leads_back_to_itself_is_in_a_cycle(edges in prop::collection::vec((0..9_usize, 0..9_usize), 0..20)) {
        let names: Vec<String> = (0..9).map(|n| format!("p{n}")).collect();
        let mut reached = [[false; 9]; 9];
        for (from, to) in &edges {
            reached[*from][*to] = true;
        }
        let direct = reached;
        for (through, from, to) in (0..729).map(|n| (n / 81, n / 9 % 9, n % 9)) {
            reached[from][to] |= reached[from][through] && reached[through][to];
        }
        let to: Vec<Vec<&str>> = (0..9)
            .map(|from| (0..9).filter(|to| direct[from][*to]).map(|to| names[to].as_str()).collect())
            .collect();
        let pipelines: Vec<(&str, &[&str])> =
            names.iter().zip(&to).map(|(from, to)| (from.as_str(), to.as_slice())).collect();
        let cycles = graph(&pipelines).cycles();
        let told: BTreeSet<&str> = cycles.iter().flat_map(Cycle::pipelines).map(PipelineName::as_str).collect();
        let expected: BTreeSet<&str> = (0..9).filter(|n| reached[*n][*n]).map(|n| names[n].as_str()).collect();
        prop_assert_eq!(told, expected);
        prop_assert_eq!(cycles.iter().collect::<BTreeSet<_>>().len(), cycles.len(), "each once");
        for cycle in &cycles {
            let path = cycle.pipelines();
            let place = |name: &PipelineName| names.iter().position(|one| one == name.as_str()).unwrap();
            for (index, from) in path.iter().enumerate() {
                prop_assert!(direct[place(from)][place(&path[(index + 1) % path.len()])]);
            }
            prop_assert_eq!(path.iter().collect::<BTreeSet<_>>().len(), path.len());
            prop_assert_eq!(path.iter().min(), path.first());
        }
    }
}
