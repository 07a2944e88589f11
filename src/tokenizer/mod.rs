//! Layer 2, tokenizer: text to token ids and word starts, and back. The only place
//! that names the `tokenizers` library.
//!
//! What this adds to the library: one form for all tokenizer files, special tokens
//! by role, text that never yields a special token, one bit per token where a word
//! starts, and speed: what is common goes through `fast/`, with the same tokens.
//! There encoding costs 3 ns a byte of English and up to 12 bytes of memory for each
//! byte of the document at hand; in the library 200 to 500 ns and about 128 bytes.

mod ascii;
pub mod cutter;
mod encoder;
mod fast;
mod library;
mod load;
mod markers;
mod outline;
mod parsed;
mod restore;
mod roles;
pub mod short;
mod source;
pub mod words;

pub use cutter::{CutWord, WordCutter};
pub use encoder::Encoder;
pub use restore::{WordRestorer, spelling_is_exact};
pub use roles::Role;
pub use short::Short;
pub use words::{Word, WordKind, WordTexts, Words};

use crate::base::boundaries::Boundaries;
use crate::base::error::{Error, Result};
use crate::base::fingerprint;
use crate::base::token::{SpecialTokens, TokenId, is_wide};
use crate::config::TokenizerPath;
use crate::storage::TokenizerRecord;
use fast::Fast;
use hashbrown::HashMap;
use library::{Library, hide, to_hide};
use markers::Markers;
use parsed::{Parsed, Pieces};
use serde_json::Value;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

/// Memory that the library takes for each byte of the text that it works on: measured 111
/// to 121 on 16 MB of English as one document, under WordPiece and byte-level BPE. Text
/// of one-letter words alone takes twice that.
pub const LIBRARY_MEMORY_PER_BYTE: u64 = 128;

/// Memory that the fast path takes for each byte: at worst a token of four bytes, of which
/// there are the old and the new, twice as long, while their vector grows. English takes
/// a fifth of it.
const FAST_MEMORY_PER_BYTE: u64 = 12;

/// Ids are below this: the largest vocabularies have 2^18, and a number that is none of theirs
/// must not take gigabytes of spellings.
const MOST_IDS: usize = 1 << 24;

/// A loaded tokenizer; shared between threads by reference.
pub struct Tokenizer {
    library: Library,
    fingerprint: String,
    special: SpecialTokens,
    /// By id; empty where the vocabulary has a hole.
    spellings: Vec<String>,
    markers: Markers,
    /// By id: must never come from text.
    barred: Vec<bool>,
    /// By id: opens a word. Only for tokenizers that cut no words themselves.
    opens_word: Option<Vec<bool>>,
    /// Text between whitespace is cut the same whatever stands around it; then also,
    /// whether the normaliser makes letters small.
    apart_at_whitespace: Option<bool>,
    path: TokenizerPath,
    /// Made when first asked for, unless it is clear that it will be: stages that only
    /// read ids do without. `Err` is why the library must encode.
    fast: OnceLock<Result<Fast, String>>,
}

/// Tokens of one or more documents, appended by [`Tokenizer::encode`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Token ids.
    pub tokens: Vec<TokenId>,
    /// One bit per token: a word starts here.
    pub word_start: Boundaries,
}

/// Why a text has no tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    /// The vocabulary spells a special token from ordinary text.
    #[error("text became the special token {spelling:?}, id {id}")]
    SpecialToken {
        /// The token.
        id: TokenId,
        /// Its spelling.
        spelling: String,
    },
    /// The library refused the text.
    #[error("the tokenizer failed: {0}")]
    Failed(String),
}

impl Tokenizer {
    /// Loads a `tokenizer.json` that an earlier stage wrote, with the special tokens
    /// from its manifest. `place` names the file in errors.
    pub fn from_json(place: &str, json: &str, special: SpecialTokens) -> Result<Self> {
        Self::assemble(place, None, json.to_owned(), None, special, None)
    }

    /// Of `json` as the library writes it, and `whole` and `parsed` where it was read
    /// already. `path` is how it is going to encode; without one it may never do.
    fn assemble(
        place: &str,
        whole: Option<tokenizers::Tokenizer>,
        json: String,
        parsed: Option<Parsed>,
        special: SpecialTokens,
        path: Option<TokenizerPath>,
    ) -> Result<Self> {
        let mut parsed = match parsed {
            Some(parsed) => parsed,
            None => Parsed::read(&json).map_err(|error| broken(place, error))?,
        };
        let spellings = spellings(place, &parsed)?;
        let mut barred = vec![false; spellings.len()];
        for (id, token) in added_tokens(&parsed.json) {
            barred[id] |= token["special"] == true && special.unk != Some(id as TokenId);
        }
        let hidden = to_hide(&parsed, &spellings, &barred);
        hide(&mut parsed, &hidden);
        let fingerprint = fingerprint::of_bytes(json.as_bytes());
        let markers = Markers::of(&parsed.json);
        let mut tokenizer = Self {
            library: Library::new(place, json, &parsed, hidden, whole)?,
            fingerprint,
            special,
            spellings,
            barred,
            opens_word: None,
            apart_at_whitespace: case_apart(&parsed.json, &markers),
            markers,
            path: path.unwrap_or_default(),
            fast: OnceLock::new(),
        };
        if path == Some(TokenizerPath::Auto) {
            tokenizer
                .fast
                .get_or_init(|| Fast::of(&parsed, &tokenizer.barred));
        }
        tokenizer.find_word_openers(place)?;
        Ok(tokenizer)
    }

    /// A tokenizer without a pre-tokenizer (Llama's kind) makes a whole text one
    /// word; there, a token that begins with a space opens a word.
    fn find_word_openers(&mut self, place: &str) -> Result<()> {
        const PROBE: &str = "a b";
        let mut words = 0;
        self.library
            .cut(PROBE, |_| words += 1)
            .map_err(|error| broken(place, error))?;
        if words > 1 && !self.library.is_read() {
            return Ok(());
        }
        let mut probe = Encoded::default();
        self.encode(PROBE, &mut probe)
            .map_err(|error| broken(place, error))?;
        if probe.tokens.len() > 1 && probe.word_start.as_slice().count() == 1 {
            let mut piece = Vec::new();
            let opens = self.spellings.iter().map(|spelling| {
                piece.clear();
                self.markers.strip(spelling, &mut piece);
                piece.first() == Some(&b' ')
            });
            self.opens_word = Some(opens.collect());
        }
        Ok(())
    }

    /// What a worker encodes with: the fast path where this tokenizer has one.
    pub fn encoder(&self) -> Encoder<&Self> {
        Encoder::new(self)
    }

    /// How [`Tokenizer::encoder`] encodes: `fast`, or `library: ` and why.
    pub fn path(&self) -> String {
        match self.fast() {
            Ok(_) => "fast".into(),
            Err(reason) => format!("library: {reason}"),
        }
    }

    /// Memory that encoding takes for each byte of the document at hand, what is left of
    /// it afterwards included.
    pub fn memory_per_byte(&self) -> u64 {
        match self.fast() {
            Ok(_) => FAST_MEMORY_PER_BYTE,
            Err(_) => LIBRARY_MEMORY_PER_BYTE,
        }
    }

    /// The fast path, or why there is none.
    fn fast(&self) -> Result<&Fast, &str> {
        if self.path == TokenizerPath::Library {
            return Err("asked for");
        }
        if self.opens_word.is_some() {
            return Err("no pre-tokenizer that cuts words");
        }
        let made = self.fast.get_or_init(|| {
            let parsed = self.library.parsed().map_err(|error| error.to_string())?;
            Fast::of(&parsed, &self.barred)
        });
        made.as_ref().map_err(String::as_str)
    }

    /// Appends the tokens of `text` to `out` as [`Encoder::encode`] does, by the
    /// library, which is the reference.
    pub fn encode(&self, text: &str, out: &mut Encoded) -> Result<(), Unencodable> {
        let before = out.tokens.len();
        let mut barred = None;
        self.library.encode(text, |word| {
            for (index, &id) in word.iter().enumerate() {
                if self.barred.get(id as usize) != Some(&false) {
                    barred = barred.or(Some(id));
                }
                let opens = |opens: &Vec<bool>| opens.get(id as usize) == Some(&true);
                out.tokens.push(id);
                out.word_start
                    .push(index == 0 || self.opens_word.as_ref().is_some_and(opens));
            }
        })?;
        let Some(id) = barred else {
            return Ok(());
        };
        out.tokens.truncate(before);
        out.word_start.truncate(before);
        Err(Unencodable::SpecialToken {
            id,
            spelling: self.spelling(id).to_owned(),
        })
    }

    /// Whether the pre-tokenizer cuts words, not the model.
    pub fn cuts_words(&self) -> bool {
        self.opens_word.is_none()
    }

    /// Whether text between spaces, tabs and line ends is cut the same whatever stands
    /// around it: so it is for BERT's normaliser and pre-tokenizer.
    pub fn cuts_at_whitespace(&self) -> bool {
        self.apart_at_whitespace.is_some()
    }

    /// Whether letters become small, where [`Tokenizer::cuts_at_whitespace`]; then, in
    /// ASCII without control characters, words are letters and digits together, or
    /// punctuation one by one.
    pub(super) fn case_apart(&self) -> Option<bool> {
        self.apart_at_whitespace
    }

    /// Hands the bytes of every word of `text`, markers off, to `each`: what the
    /// normaliser and the pre-tokenizer make of it, without the model.
    pub fn cut(&self, text: &str, mut each: impl FnMut(&[u8])) -> Result<(), Unencodable> {
        let mut bytes = Vec::new();
        self.library.cut(text, |piece| {
            bytes.clear();
            self.markers.strip(piece, &mut bytes);
            if !bytes.is_empty() {
                each(&bytes);
            }
        })
    }

    /// As [`cut`](Self::cut), with the place in `text`, in bytes, that each word was made of:
    /// the space in front of it included, where the tokenizer takes that for part of a word.
    pub(super) fn cut_places(
        &self,
        text: &str,
        mut each: impl FnMut(&[u8], Range<usize>),
    ) -> Result<(), Unencodable> {
        let mut bytes = Vec::new();
        self.library.cut_places(text, |piece, place| {
            bytes.clear();
            self.markers.strip(piece, &mut bytes);
            if !bytes.is_empty() {
                each(&bytes, place);
            }
        })
    }

    /// The text of `ids` as a reader expects it, special tokens included.
    pub fn decode(&self, ids: &[TokenId]) -> String {
        self.library.decode(ids).unwrap_or_else(|_| {
            let spelled: Vec<&str> = ids.iter().map(|&id| self.spelling(id)).collect();
            spelled.join(" ")
        })
    }

    /// How the vocabulary spells `id`, markers included; empty for a hole in the
    /// vocabulary or an id beyond it.
    pub fn spelling(&self, id: TokenId) -> &str {
        self.spellings.get(id as usize).map_or("", String::as_str)
    }

    /// Whether `id` is a special token that text never yields; the unknown token is none.
    pub fn is_barred(&self, id: TokenId) -> bool {
        self.barred.get(id as usize) == Some(&true)
    }

    /// The text of one token as it stands in a sentence: markers off, with a space in
    /// front (or behind) where the tokenizer would put one. Bytes that are no text by
    /// themselves are `�`.
    pub fn surface(&self, id: TokenId) -> String {
        let mut bytes = Vec::new();
        self.markers.surface(self.spelling(id), &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The id that the vocabulary gives to a spelling; looks through all of it.
    pub fn id(&self, spelling: &str) -> Option<TokenId> {
        let at = self.spellings.iter().position(|known| known == spelling)?;
        (!spelling.is_empty()).then_some(at as TokenId)
    }

    /// Number of ids, added tokens and holes included: the highest id and one.
    pub fn vocabulary_size(&self) -> usize {
        self.spellings.len()
    }

    /// Whether ids need 32 bits.
    pub fn is_wide(&self) -> bool {
        is_wide(self.vocabulary_size())
    }

    /// Special tokens by role.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// The special token of `role`, or an error that says how to name one.
    pub fn require(&self, role: Role) -> Result<TokenId> {
        require(&self.special, role)
    }

    /// How many closing tokens stand between the sentences of a pair, as its post-processor
    /// has it; reads all of it.
    pub fn between_pair(&self) -> usize {
        let parsed = Parsed::read(self.to_json()).unwrap_or_default();
        roles::between_pair(&parsed.json["post_processor"])
    }

    /// The tokenizer as a `tokenizer.json`, without truncation and padding.
    pub fn to_json(&self) -> &str {
        self.library.json()
    }

    /// Hash of [`Tokenizer::to_json`].
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// The special token of `role`, or an error that says how to name one.
pub fn require(special: &SpecialTokens, role: Role) -> Result<TokenId> {
    let mut special = special.clone();
    slot(&mut special, role).ok_or_else(|| {
        let flag = role.key().replace('_', "-");
        Error::usage(
            format!("tokenize.{}", role.key()),
            format!("a tokenizer without a {role} token"),
            format!("one, such as {}", role.example()),
            format!(
                "tokenise again with --{flag} SPELLING; if the vocabulary lacks it, \
                 also with --add-special-tokens"
            ),
        )
    })
}

fn slot(special: &mut SpecialTokens, role: Role) -> &mut Option<TokenId> {
    match role {
        Role::Mask => &mut special.mask,
        Role::Cls => &mut special.cls,
        Role::Sep => &mut special.sep,
        Role::Pad => &mut special.pad,
        Role::Unk => &mut special.unk,
    }
}

fn broken(place: &str, error: impl ToString) -> Error {
    Error::input(
        place,
        error.to_string(),
        "a tokenizer that the tokenizers library can load",
        "fetch the tokenizer again, or name another one",
    )
}

/// The added tokens of a `tokenizer.json` and their ids.
fn added_tokens(tokenizer: &Value) -> impl Iterator<Item = (usize, &Value)> {
    let tokens = tokenizer["added_tokens"].as_array().into_iter().flatten();
    tokens.filter_map(|token| Some((id_of(&token["id"])?, token)))
}

fn id_of(value: &Value) -> Option<usize> {
    let id = value.as_u64()?;
    TokenId::try_from(id).ok().map(|id| id as usize)
}

/// The spellings of a `tokenizer.json` by id, those of added tokens included. Of a piece
/// that a list has twice the later one counts, as in the library.
fn spellings(place: &str, tokenizer: &Parsed) -> Result<Vec<String>> {
    let mut spellings = Vec::with_capacity(tokenizer.pieces.len());
    let mut put = |id: usize, spelling: &str| {
        if id >= MOST_IDS {
            return Err(Error::input(
                place,
                format!("{spelling:?} with the id {id}"),
                format!("ids below {MOST_IDS}"),
                "give its pieces ids from 0 on",
            ));
        }
        if id >= spellings.len() {
            spellings.resize(id + 1, String::new());
        }
        spellings[id] = spelling.to_owned();
        Ok(())
    };
    match &tokenizer.pieces {
        Pieces::Scores(pieces) => {
            let pieces = pieces.iter().map(|(piece, _)| &**piece);
            let last: HashMap<&str, usize> = pieces.clone().zip(0..).collect();
            for (id, piece) in pieces.enumerate() {
                put(id, if last[piece] == id { piece } else { "" })?;
            }
        }
        Pieces::Ids(pieces) => {
            for (spelling, id) in pieces.iter() {
                put(id as usize, spelling)?;
            }
        }
        Pieces::None => {}
    }
    for (id, token) in added_tokens(&tokenizer.json) {
        put(id, token["content"].as_str().unwrap_or_default())?;
    }
    Ok(spellings)
}

/// BERT's normaliser and pre-tokenizer look at one character at a time, marks of accents
/// aside; added tokens that are not special are found in text beforehand.
fn case_apart(tokenizer: &Value, markers: &Markers) -> Option<bool> {
    let normalizer = &tokenizer["normalizer"];
    let added = tokenizer["added_tokens"].as_array();
    let apart = (normalizer.is_null() || normalizer["type"] == "BertNormalizer")
        && tokenizer["pre_tokenizer"]["type"] == "BertPreTokenizer"
        && added.is_none_or(|added| added.iter().all(|token| token["special"] == true))
        && markers.spare_words();
    apart.then(|| normalizer["lowercase"] == true)
}

/// Reads the tokenizer that a stage wrote into `folder`, as the artefact's manifest
/// records it. One that was put in its place is refused: ids mean nothing without it.
pub fn read_written(folder: &Path, record: &TokenizerRecord) -> Result<Tokenizer> {
    let path = folder.join(&record.file);
    let place = path.display().to_string();
    let json = crate::storage::place::read(&path)?;
    let json = String::from_utf8_lossy(&json).into_owned();
    let found = fingerprint::of_bytes(json.as_bytes());
    if found != record.fingerprint {
        return Err(Error::mismatch(
            place,
            format!("a tokenizer with fingerprint {found}"),
            format!(
                "fingerprint {}, of the one that wrote the ids",
                record.fingerprint
            ),
            "put that tokenizer back, or tokenise again",
        ));
    }
    Tokenizer::from_json(&place, &json, record.special_tokens.clone())
}

#[cfg(test)]
mod tests;
