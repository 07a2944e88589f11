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
mod markers;
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
use crate::config::{TokenizeConfig, TokenizerPath};
use crate::storage::TokenizerRecord;
use fast::Fast;
use markers::Markers;
use serde_json::Value;
use std::path::Path;
use std::sync::OnceLock;
use tokenizers::models::ModelWrapper;
use tokenizers::tokenizer::{
    AddedToken, Model, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _,
};

/// Memory that the library takes for each byte of the text that it works on: measured 111
/// to 121 on 16 MB of English as one document, under WordPiece and byte-level BPE. Text
/// of one-letter words alone takes twice that.
pub const LIBRARY_MEMORY_PER_BYTE: u64 = 128;

/// Memory that the fast path takes for each byte: at worst a token of four bytes, of which
/// there are the old and the new, twice as long, while their vector grows. English takes
/// a fifth of it.
const FAST_MEMORY_PER_BYTE: u64 = 12;

/// A loaded tokenizer; shared between threads by reference.
pub struct Tokenizer {
    library: tokenizers::Tokenizer,
    json: String,
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
    /// Loads `config.tokenizer`, finds the special tokens and sentinels and appends those
    /// that are named, missing and asked for.
    pub fn load(config: &TokenizeConfig) -> Result<Self> {
        let place = config.tokenizer.display().to_string();
        let mut source = source::read(&config.tokenizer, config.lowercase)?;
        source.tokenizer["truncation"] = Value::Null;
        source.tokenizer["padding"] = Value::Null;
        let mut library = parse(&place, &source.tokenizer.to_string())?;
        let mut special = SpecialTokens::default();
        for role in Role::ALL {
            let named = match role {
                Role::Mask => &config.mask_token,
                Role::Cls => &config.cls_token,
                Role::Sep => &config.sep_token,
                Role::Pad => &config.pad_token,
                Role::Unk => &config.unk_token,
            };
            *slot(&mut special, role) = match named {
                Some(spelling) => Some(named_token(&mut library, &place, role, spelling, config)?),
                None => roles::candidates(role, &source.tokenizer, &source.beside)
                    .iter()
                    .find_map(|spelling| library.token_to_id(spelling)),
            };
        }
        append_sentinels(&mut library, &place, config.sentinels as usize)?;
        special.sentinels = (0..)
            .map_while(|number| library.token_to_id(&roles::sentinel(number)))
            .collect();
        flag_named(&mut library, &special).map_err(|error| broken(&place, error))?;
        let json = library
            .to_string(false)
            .map_err(|error| broken(&place, error))?;
        special.reserved = reserved(&library, &special);
        Self::assemble(&place, library, json, special, Some(config.tokenizer_path))
    }

    /// Loads a `tokenizer.json` that an earlier stage wrote, with the special tokens
    /// from its manifest. `place` names the file in errors.
    pub fn from_json(place: &str, json: &str, special: SpecialTokens) -> Result<Self> {
        Self::assemble(place, parse(place, json)?, json.to_owned(), special, None)
    }

    /// `path` is how it is going to encode; without one it may never do.
    fn assemble(
        place: &str,
        mut library: tokenizers::Tokenizer,
        json: String,
        special: SpecialTokens,
        path: Option<TokenizerPath>,
    ) -> Result<Self> {
        let mut value: Value = serde_json::from_str(&json).map_err(|error| broken(place, error))?;
        let vocabulary = library.get_vocab(true);
        let size = vocabulary.values().max().map_or(0, |&id| id as usize + 1);
        let mut spellings = vec![String::new(); size];
        for (spelling, id) in vocabulary {
            spellings[id as usize] = spelling;
        }
        let mut barred = vec![false; size];
        for (id, token) in library.get_added_tokens_decoder() {
            if token.special && special.unk != Some(id) {
                barred[id as usize] = true;
            }
        }
        library.set_encode_special_tokens(true);
        if hide_special_pieces(&mut value["model"], &spellings, &barred) {
            let model: ModelWrapper = serde_json::from_value(value["model"].clone())
                .map_err(|error| broken(place, error))?;
            library.with_model(model);
        }
        let markers = Markers::of(&value);
        let mut tokenizer = Self {
            library,
            fingerprint: fingerprint::of_bytes(json.as_bytes()),
            json,
            special,
            spellings,
            barred,
            opens_word: None,
            apart_at_whitespace: case_apart(&value, &markers),
            markers,
            path: path.unwrap_or_default(),
            fast: OnceLock::new(),
        };
        if path == Some(TokenizerPath::Auto) {
            tokenizer
                .fast
                .get_or_init(|| Fast::of(&value, &tokenizer.barred));
        }
        tokenizer.find_word_openers(place)?;
        Ok(tokenizer)
    }

    /// A tokenizer without a pre-tokenizer (Llama's kind) makes a whole text one
    /// word; there, a token that begins with a space opens a word.
    fn find_word_openers(&mut self, place: &str) -> Result<()> {
        let mut probe = Encoded::default();
        self.encode("a b", &mut probe)
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
    pub fn encoder(&self) -> Encoder<'_> {
        Encoder::new(self, self.fast().ok())
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
            let mut tokenizer: Value =
                serde_json::from_str(&self.json).map_err(|error| error.to_string())?;
            hide_special_pieces(&mut tokenizer["model"], &self.spellings, &self.barred);
            Fast::of(&tokenizer, &self.barred)
        });
        made.as_ref().map_err(String::as_str)
    }

    /// Appends the tokens of `text` to `out` as [`Encoder::encode`] does, by the
    /// library, which is the reference.
    pub fn encode(&self, text: &str, out: &mut Encoded) -> Result<(), Unencodable> {
        let failed = |error: tokenizers::Error| Unencodable::Failed(error.to_string());
        let mut pieces = self.pre_tokenized(text)?;
        self.library
            .get_model()
            .tokenize_in_pretokenized(&mut pieces, None)
            .map_err(failed)?;
        let splits = pieces.get_splits(OffsetReferential::Normalized, OffsetType::None);
        let words = || splits.iter().filter_map(|(_, _, tokens)| tokens.as_deref());
        for token in words().flatten() {
            if self.barred.get(token.id as usize) != Some(&false) {
                return Err(Unencodable::SpecialToken {
                    id: token.id,
                    spelling: self.spelling(token.id).to_owned(),
                });
            }
        }
        for word in words() {
            for (index, token) in word.iter().enumerate() {
                let opens = |opens: &Vec<bool>| opens[token.id as usize];
                out.tokens.push(token.id);
                out.word_start
                    .push(index == 0 || self.opens_word.as_ref().is_some_and(opens));
            }
        }
        Ok(())
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
        let pieces = self.pre_tokenized(text)?;
        let mut bytes = Vec::new();
        for (piece, _, _) in pieces.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            bytes.clear();
            self.markers.strip(piece, &mut bytes);
            if !bytes.is_empty() {
                each(&bytes);
            }
        }
        Ok(())
    }

    fn pre_tokenized(&self, text: &str) -> Result<PreTokenizedString, Unencodable> {
        let mut pieces = self
            .library
            .get_added_vocabulary()
            .extract_and_normalize(self.library.get_normalizer(), text);
        if let Some(cut) = self.library.get_pre_tokenizer() {
            cut.pre_tokenize(&mut pieces)
                .map_err(|error| Unencodable::Failed(error.to_string()))?;
        }
        Ok(pieces)
    }

    /// The text of `ids` as a reader expects it, special tokens included.
    pub fn decode(&self, ids: &[TokenId]) -> String {
        self.library.decode(ids, false).unwrap_or_else(|_| {
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

    /// The id that the vocabulary gives to a spelling.
    pub fn id(&self, spelling: &str) -> Option<TokenId> {
        self.library.token_to_id(spelling)
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

    /// The tokenizer as a `tokenizer.json`, without truncation and padding.
    pub fn to_json(&self) -> &str {
        &self.json
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

fn parse(place: &str, json: &str) -> Result<tokenizers::Tokenizer> {
    tokenizers::Tokenizer::from_bytes(json).map_err(|error| broken(place, error))
}

/// The id of a spelling that the user named; appended if asked for and missing.
fn named_token(
    library: &mut tokenizers::Tokenizer,
    place: &str,
    role: Role,
    spelling: &str,
    config: &TokenizeConfig,
) -> Result<TokenId> {
    if let Some(id) = library.token_to_id(spelling) {
        return Ok(id);
    }
    if !config.add_special_tokens {
        return Err(Error::usage(
            format!("tokenize.{}", role.key()),
            format!("{spelling:?}, which {place} does not have"),
            "a spelling in the vocabulary",
            "correct it, or set add_special_tokens = true to append it",
        ));
    }
    append(library, place, &[spelling.to_owned()])
}

/// Appends what is missing of the first `count` sentinels.
fn append_sentinels(library: &mut tokenizers::Tokenizer, place: &str, count: usize) -> Result<()> {
    let missing: Vec<String> = (0..count)
        .map(roles::sentinel)
        .filter(|spelling| library.token_to_id(spelling).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    append(library, place, &missing).map(drop)
}

/// Appends special tokens behind the last id; the id of the first one.
fn append(
    library: &mut tokenizers::Tokenizer,
    place: &str,
    spellings: &[String],
) -> Result<TokenId> {
    let next = library
        .get_vocab(true)
        .values()
        .max()
        .map_or(0, |id| id + 1);
    let tokens = spellings
        .iter()
        .map(|spelling| AddedToken::from(spelling, true));
    library
        .add_special_tokens(tokens.collect::<Vec<_>>())
        .map_err(|error| broken(place, error))?;
    for (expected, spelling) in (next..).zip(spellings) {
        let id = library.token_to_id(spelling);
        if id != Some(expected) {
            return Err(Error::input(
                place,
                format!("{spelling:?} appended as id {id:?}"),
                format!("it as id {expected}, after the last one"),
                "use a tokenizer whose ids have no holes, or append the token in its file",
            ));
        }
    }
    Ok(next)
}

/// Every id with a role, and the sentinels.
fn named(special: &SpecialTokens) -> impl Iterator<Item = TokenId> {
    let roles = [
        special.mask,
        special.cls,
        special.sep,
        special.pad,
        special.unk,
    ];
    let sentinels = special.sentinels.iter().copied();
    roles.into_iter().flatten().chain(sentinels)
}

/// Flags every token with a role and every sentinel as special, so that its spelling in
/// text is text.
fn flag_named(
    library: &mut tokenizers::Tokenizer,
    special: &SpecialTokens,
) -> tokenizers::Result<()> {
    let added = library.get_added_tokens_decoder();
    let mut tokens = Vec::new();
    for id in named(special) {
        let token = match added.get(&id) {
            Some(token) if token.special => continue,
            Some(token) => token.clone().special(true),
            None => match library.id_to_token(id) {
                Some(spelling) => AddedToken::from(spelling, true),
                None => continue,
            },
        };
        if !tokens.contains(&token) {
            tokens.push(token);
        }
    }
    library.add_special_tokens(tokens).map(drop)
}

/// Every added id, every role and every sentinel, ascending.
fn reserved(library: &tokenizers::Tokenizer, special: &SpecialTokens) -> Vec<TokenId> {
    let mut ids: Vec<TokenId> = library.get_added_tokens_decoder().into_keys().collect();
    ids.extend(named(special));
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Takes special spellings out of the model's reach: T5's list of pieces holds
/// `</s>` itself, so plain text could become it. The piece keeps its id and score
/// and gets a spelling with a NUL in it, which no text has. A piece that BPE merges
/// together stays, and is caught when it comes out. Whether there was one.
fn hide_special_pieces(model: &mut Value, spellings: &[String], barred: &[bool]) -> bool {
    let looks_up = matches!(model["type"].as_str(), Some("WordPiece" | "WordLevel"));
    let unknown = model["unk_id"].as_u64().map(|id| id as usize);
    let specials = (0..barred.len()).filter(|&id| barred[id]);
    let hidden = |spelling: &str| format!("\0{spelling}");
    let mut changed = false;
    match &mut model["vocab"] {
        Value::Array(pieces) => {
            for id in specials.chain(unknown) {
                if let Some(piece) = pieces
                    .get_mut(id)
                    .filter(|p| p[0] == spellings[id].as_str())
                {
                    piece[0] = hidden(&spellings[id]).into();
                    changed = true;
                }
            }
        }
        Value::Object(pieces) if looks_up => {
            for id in specials {
                if let Some(number) = pieces.remove(&spellings[id]) {
                    pieces.insert(hidden(&spellings[id]), number);
                    changed = true;
                }
            }
        }
        _ => {}
    }
    changed
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
