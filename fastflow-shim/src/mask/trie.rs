//! The automaton of Aho and Corasick.
//!
//! Three things that the crate of this name does not have are needed here: how long the longest beginning of a pattern is
//! that the text ends with, memory that is wiped, and to be built within the time that the start of a program may cost.

use zeroize::{DefaultIsZeroes, Zeroizing};

use super::MAX_PATTERNS_BYTES;

/// The state in which no pattern has begun.
pub(super) const ROOT: u32 = 0;
/// No state. Nobody's child is the root.
const NONE: u32 = 0;
const BYTE_BITS: u32 = 8;
const _: () = assert!(MAX_PATTERNS_BYTES < 1 << (u32::BITS - BYTE_BITS));

/// A state: a beginning of patterns. Each is there once, in the order of their bytes, so that the first child of a state
/// is the one after it.
#[derive(Clone, Copy, Default)]
struct Node {
    /// How many bytes it stands for, and below that the last of them.
    depth_and_byte: u32,
    /// The longest suffix of it, shorter than itself, that is a beginning of patterns too.
    fail: u32,
    /// The longest pattern that it ends with, in bytes.
    matched: u32,
    /// The next child of the same parent.
    sibling: u32,
}

impl DefaultIsZeroes for Node {}

impl Node {
    fn depth(self) -> u32 {
        self.depth_and_byte >> BYTE_BITS
    }
}

/// What is known of the bytes that came: the longest end of them with which a pattern begins.
#[derive(Clone, Default)]
pub(super) struct Trie {
    /// With a root once more at their end, which is nobody's child.
    nodes: Zeroizing<Vec<Node>>,
    /// The root's children by their byte.
    first: Zeroizing<Vec<u32>>,
}

impl Trie {
    /// For `patterns` in the order of their bytes, each once, which have `total` bytes together.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a [u8]>, total: usize) -> Self {
        let mut trie = Self {
            // Never to grow: what moved would leave its bytes behind.
            nodes: Zeroizing::new(Vec::with_capacity(total + 2)),
            first: Zeroizing::new(vec![NONE; 1 << BYTE_BITS]),
        };
        trie.nodes.push(Node::default());
        let mut before: &[u8] = &[];
        // The states of the beginnings of the pattern before, and of each its last child.
        let mut path = Zeroizing::new(vec![ROOT]);
        let mut last_child = Zeroizing::new(vec![NONE]);
        for pattern in patterns {
            let shared = before.iter().zip(pattern).take_while(|(one, other)| one == other).count();
            path.truncate(shared + 1);
            last_child.truncate(shared + 1);
            for (depth, byte) in (1..).zip(pattern).skip(shared) {
                let state = u32::try_from(trie.nodes.len()).unwrap_or(NONE);
                trie.nodes
                    .push(Node { depth_and_byte: depth << BYTE_BITS | u32::from(*byte), ..Node::default() });
                let parent = path.len() - 1;
                match last_child[parent] {
                    NONE => {}
                    last => trie.nodes[last as usize].sibling = state,
                }
                last_child[parent] = state;
                if depth == 1 {
                    trie.first[usize::from(*byte)] = state;
                }
                path.push(state);
                last_child.push(NONE);
            }
            let end = path[pattern.len()] as usize;
            trie.nodes[end].matched = trie.nodes[end].depth();
            before = pattern;
        }
        trie.nodes.push(Node::default());
        trie.link();
        trie
    }

    /// Finds where each state goes on when it cannot go on, the shorter ones first: each needs those of shorter ones.
    fn link(&mut self) {
        let mut queue = Zeroizing::new(Vec::with_capacity(self.nodes.len()));
        queue.push(ROOT);
        let mut next = 0;
        while let Some(state) = queue.get(next).copied() {
            next += 1;
            let mut child = self.first_child(state);
            while child != NONE {
                let node = self.nodes[child as usize];
                let fail = match state {
                    ROOT => ROOT,
                    _ => self.next(self.nodes[state as usize].fail, node.depth_and_byte.to_le_bytes()[0]),
                };
                let inherited = self.nodes[fail as usize].matched;
                let node = &mut self.nodes[child as usize];
                node.fail = fail;
                node.matched = node.matched.max(inherited);
                queue.push(child);
                child = node.sibling;
            }
        }
    }

    /// The state after one more byte.
    #[inline]
    pub(super) fn next(&self, mut state: u32, byte: u8) -> u32 {
        loop {
            if state == ROOT {
                return self.first[usize::from(byte)];
            }
            let wanted = (self.nodes[state as usize].depth_and_byte >> BYTE_BITS) + 1;
            let wanted = wanted << BYTE_BITS | u32::from(byte);
            let mut child = self.first_child(state);
            while child != NONE {
                let node = self.nodes[child as usize];
                if node.depth_and_byte == wanted {
                    return child;
                }
                child = node.sibling;
            }
            state = self.nodes[state as usize].fail;
        }
    }

    #[inline]
    fn first_child(&self, state: u32) -> u32 {
        let next = self.nodes[state as usize + 1];
        if next.depth() == self.nodes[state as usize].depth() + 1 { state + 1 } else { NONE }
    }

    /// How many bytes the state stands for.
    #[inline]
    pub(super) fn depth(&self, state: u32) -> usize {
        self.nodes[state as usize].depth() as usize
    }

    /// The longest pattern that the text ends with, in bytes; 0 for none.
    #[inline]
    pub(super) fn matched(&self, state: u32) -> usize {
        self.nodes[state as usize].matched as usize
    }

    /// The longest end of the text that is a beginning of a pattern and not all of it.
    pub(super) fn open(&self, mut state: u32) -> u32 {
        while state != ROOT && self.first_child(state) == NONE {
            state = self.nodes[state as usize].fail;
        }
        state
    }
}
