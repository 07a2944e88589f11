//! The model: the most probable pieces of a word. Scores are added and compared in the
//! order of the library, so that sums are rounded and ties broken alike.

use crate::tokenizer::Unencodable;
use crate::tokenizer::fast::pairs::{LIMIT, NONE, Pairs};

/// How much less probable than the least probable piece an unknown character is.
const UNKNOWN_PENALTY: f64 = 10.0;

/// Pieces in a trie of bytes.
pub(super) struct Model {
    /// Children of nodes by byte. The root is 0.
    children: Pairs,
    /// By byte, the child of the root.
    first: Box<[u32; 1 << 8]>,
    /// By two bytes, what they lead to from the root: most walks end soon, and do not wait
    /// for the first of them.
    second: Vec<u32>,
    /// By node, the id of the piece that ends there, or [`NONE`].
    ids: Vec<u32>,
    /// By id.
    scores: Vec<f64>,
    unknown: u32,
    unknown_score: f64,
    /// What stands for each byte, where unknown text falls back to bytes.
    bytes: Option<Box<[u32; 256]>>,
    /// By id, whether it must not come from text.
    is_barred: Vec<bool>,
    /// Those that must not, and their spellings.
    barred: Vec<(u32, String)>,
}

/// The best way to a place in a word.
#[derive(Debug, Clone, Copy, Default)]
struct Best {
    score: f64,
    /// Where the last piece starts, and its id; [`NONE`] where no piece ends.
    start: u32,
    id: u32,
}

/// Buffers of a word at work.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    best: Vec<Best>,
    ids: Vec<u32>,
}

impl Model {
    /// A model of pieces and scores, in the order of their ids. Of a piece that stands
    /// twice the later counts.
    pub(super) fn new(
        pieces: &[(&str, f64)],
        unknown: u32,
        byte_fallback: bool,
        barred: Vec<(u32, String)>,
    ) -> Result<Self, String> {
        let mut sorted: Vec<&[u8]> = pieces.iter().map(|(piece, _)| piece.as_bytes()).collect();
        sorted.sort_unstable();
        // A byte that goes on where the piece before did not is a node.
        let shared = |pair: &[&[u8]]| {
            let same = pair[0].iter().zip(pair[1]).take_while(|(a, b)| a == b);
            pair[1].len() - same.count()
        };
        let first = sorted.first().map_or(0, |piece| piece.len());
        let nodes = first + sorted.windows(2).map(shared).sum::<usize>();
        if nodes.max(pieces.len()) >= LIMIT {
            return Err("model with too many pieces".into());
        }
        let mut model = Self {
            children: Pairs::new(nodes),
            first: Box::new([NONE; _]),
            second: vec![NONE; 1 << 16],
            ids: vec![NONE],
            scores: pieces.iter().map(|&(_, score)| score).collect(),
            unknown,
            unknown_score: 0.0,
            bytes: None,
            is_barred: vec![false; pieces.len()],
            barred,
        };
        for &(id, _) in &model.barred {
            model.is_barred[id as usize] = true;
        }
        let mut least = f64::INFINITY;
        for (id, &(piece, score)) in pieces.iter().enumerate() {
            let mut node = 0;
            for &byte in piece.as_bytes() {
                let mut next = model.children.get(node, byte.into());
                if next == NONE {
                    next = model.ids.len() as u32;
                    model.ids.push(NONE);
                    model.children.set(node, byte.into(), next);
                }
                node = next;
            }
            model.ids[node as usize] = id as u32;
            if score < least {
                least = score;
            }
        }
        for (byte, first) in (0..).zip(&mut model.first[..]) {
            *first = model.children.get(0, byte);
            if *first != NONE {
                let second = &mut model.second[(byte as usize) << 8..][..1 << 8];
                for (byte, second) in (0..).zip(second) {
                    *second = model.children.get(*first, byte);
                }
            }
        }
        model.unknown_score = least - UNKNOWN_PENALTY;
        if byte_fallback {
            let id = |byte| {
                model
                    .id(format!("<0x{byte:02X}>").as_bytes())
                    .unwrap_or(NONE)
            };
            model.bytes = Some(Box::new(std::array::from_fn(id)));
        }
        Ok(model)
    }

    /// The ids of a word.
    pub(super) fn word<'a>(
        &self,
        word: &str,
        scratch: &'a mut Scratch,
    ) -> Result<&'a [u32], Unencodable> {
        self.search(word, &mut scratch.best);
        let Scratch { best, ids } = scratch;
        // From behind, unknown characters beside each other as one.
        ids.clear();
        let mut end = word.len();
        while end > 0 {
            let mut start = best[end].start as usize;
            if best[end].id != self.unknown {
                ids.push(best[end].id);
            } else {
                while start > 0 && best[start].id == self.unknown {
                    start = best[start].start as usize;
                }
                self.unknown(&word.as_bytes()[start..end], ids);
            }
            end = start;
        }
        ids.reverse();
        match ids.iter().find(|&&id| self.is_barred[id as usize]) {
            None => Ok(ids),
            Some(&id) => {
                let spelling = self.barred.iter().find(|(barred, _)| *barred == id);
                let spelling = spelling.map_or(String::new(), |(_, spelling)| spelling.clone());
                Err(Unencodable::SpecialToken { id, spelling })
            }
        }
    }

    /// Finds the best way to every place of a word (Viterbi).
    fn search(&self, word: &str, best: &mut Vec<Best>) {
        let none = Best {
            id: NONE,
            ..Best::default()
        };
        best.clear();
        best.resize(word.len() + 1, none);
        best[0].id = 0;
        for (start, c) in word.char_indices() {
            let until = best[start].score;
            let mut reach = |end: usize, score: f64, id: u32| {
                let score = score + until;
                if best[end].id == NONE || score > best[end].score {
                    let start = start as u32;
                    best[end] = Best { score, start, id };
                }
            };
            let mut alone = false;
            let mut node = 0;
            let rest = &word.as_bytes()[start..];
            for (index, &byte) in rest.iter().enumerate() {
                node = match index {
                    0 => self.first[usize::from(byte)],
                    1 => self.second[usize::from(rest[0]) << 8 | usize::from(byte)],
                    _ => self.children.get(node, byte.into()),
                };
                if node == NONE {
                    break;
                }
                let id = self.ids[node as usize];
                if id != NONE {
                    reach(start + index + 1, self.scores[id as usize], id);
                    alone |= index + 1 == c.len_utf8();
                }
            }
            if !alone {
                reach(start + c.len_utf8(), self.unknown_score, self.unknown);
            }
        }
    }

    /// Pushes the ids of unknown text, the last first. Joined, it may be a piece.
    fn unknown(&self, text: &[u8], ids: &mut Vec<u32>) {
        if let Some(id) = self.id(text) {
            ids.push(id);
            return;
        }
        if let Some(bytes) = &self.bytes {
            let all = text.iter().rev().map(|&byte| bytes[byte as usize]);
            if !all.clone().any(|id| id == NONE) {
                ids.extend(all);
                return;
            }
        }
        ids.push(self.unknown);
    }

    /// The id of a piece.
    fn id(&self, piece: &[u8]) -> Option<u32> {
        let mut node = 0;
        for &byte in piece {
            node = self.children.get(node, byte.into());
            if node == NONE {
                return None;
            }
        }
        Some(self.ids[node as usize]).filter(|&id| id != NONE)
    }
}

impl Scratch {
    /// Gives back what an uncommonly long word took.
    pub(super) fn shrink(&mut self) {
        const KEPT: usize = 1 << 16;
        if self.best.capacity() > KEPT {
            *self = Self::default();
        }
    }
}
