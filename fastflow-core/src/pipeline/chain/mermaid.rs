//! A graph of pipelines as text that Mermaid draws.

use std::{collections::HashMap, fmt::Write};

use super::{EdgeKind, Graph};

impl Graph {
    /// The graph as Mermaid's `flowchart LR`: pipelines that do not exist are dashed, as are the edges of `after`.
    ///
    /// ```
    /// use fastflow_core::pipeline::{Definition, Graph};
    ///
    /// let graph = Graph::of([(&"etl".parse().unwrap(), Some(&Definition::default()))]);
    /// assert_eq!(graph.mermaid(), "flowchart LR\n    n0[\"etl\"]\n");
    /// ```
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        let mut places = HashMap::new();
        // Names may be words of Mermaid's own, such as `end`; numbers are not.
        for (place, node) in self.nodes.iter().enumerate() {
            let class = if node.exists { "" } else { ":::missing" };
            let _ = writeln!(text, "    n{place}[\"{}\"]{class}", escaped(node.name.as_str()));
            places.insert(&node.name, place);
        }
        for edge in &self.edges {
            let (Some(from), Some(to)) = (places.get(&edge.from), places.get(&edge.to)) else { continue };
            let (arrow, label) = match &edge.kind {
                EdgeKind::Success => ("-->", "success".to_owned()),
                EdgeKind::Failure => ("-->", "failure".to_owned()),
                EdgeKind::AnyEnd => ("-->", "any end".to_owned()),
                EdgeKind::Route(route) => ("-->", format!("route {}", escaped(route))),
                EdgeKind::After => ("-.->", "after".to_owned()),
            };
            let _ = writeln!(text, "    n{from} {arrow}|\"{label}\"| n{to}");
        }
        if self.missing().next().is_some() {
            text.push_str("    classDef missing stroke-dasharray: 4\n");
        }
        text
    }
}

/// Text in which nothing means anything to Mermaid or to HTML: all but letters, digits and a few marks by number.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if c.is_alphanumeric() || " _-.".contains(c) {
            escaped.push(c);
        } else {
            let _ = write!(escaped, "#{};", u32::from(c));
        }
    }
    escaped
}
