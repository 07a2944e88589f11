//! Cuts the rows of imported files into documents, without special tokens, and those
//! into chunks. A chunk is closed once it has enough tokens or documents, so chunks
//! follow from the inputs; chunk k of file f belongs to part (f + k) mod N.

use crate::base::error::{Error, Result};
use crate::base::part::Part;
use crate::base::token::TokenId;
use crate::config::{DocumentEnd, ImportConfig};
use crate::exchange::{self, IdFile, Reading};
use crate::text::document::document_id;
use crate::text::{Cursor, Place, Rejection};
use crate::tokenizer::Tokenizer;

/// Tokens in a chunk: a second of tokenising, little in memory.
const CHUNK_TOKENS: u64 = 1 << 19;

/// Documents in a chunk, at most.
const CHUNK_DOCUMENTS: usize = 1 << 16;

/// What an id means for the document that it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Text,
    /// Opens or closes a row, or stands between documents.
    Separator,
    Padding,
    /// Stands for text that was masked.
    Masked,
}

/// The meaning of every id of a vocabulary.
pub(super) struct Roles {
    meanings: Vec<Meaning>,
}

impl Roles {
    /// Special tokens by role: those that mask, those that fill, and others separate; the
    /// unknown token is text.
    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        let special = tokenizer.special();
        let meaning = |id: TokenId| {
            if special.mask == Some(id) || special.sentinels.contains(&id) {
                Meaning::Masked
            } else if [special.cls, special.sep].contains(&Some(id)) {
                Meaning::Separator
            } else if special.pad == Some(id) {
                Meaning::Padding
            } else if tokenizer.is_barred(id) {
                Meaning::Separator
            } else {
                Meaning::Text
            }
        };
        let ids = 0..tokenizer.vocabulary_size() as TokenId;
        Self {
            meanings: ids.map(meaning).collect(),
        }
    }
}

/// The documents of one chunk.
pub(super) struct Drawn {
    pub cursor: Cursor,
    pub next: Cursor,
    /// Id and number of tokens of each document.
    pub documents: Vec<(u64, usize)>,
    /// The tokens of all documents.
    pub ids: Vec<TokenId>,
    pub rejections: Vec<Rejection>,
}

/// Draws the chunks of one part.
pub(super) struct Documents<'a> {
    files: &'a [IdFile],
    reading: Reading,
    roles: Roles,
    end: DocumentEnd,
    max_document: usize,
    chunk_tokens: usize,
    part: Part,
    from: Cursor,
    at: Cursor,
    open: Option<exchange::Documents>,
    /// Rows and documents of the open file so far.
    row: u64,
    document: u64,
    draft: Draft,
}

/// The document being read.
#[derive(Default)]
struct Draft {
    ids: Vec<TokenId>,
    /// The row where it begins.
    row: u64,
    reason: Option<String>,
}

impl<'a> Documents<'a> {
    pub(super) fn new(
        files: &'a [IdFile],
        reading: Reading,
        roles: Roles,
        config: &ImportConfig,
        part: Part,
        from: Cursor,
    ) -> Self {
        // Four bytes of text a token: several chunks a file, however small files are.
        let chunk_tokens = (config.file_bytes.0 / 16).clamp(1, CHUNK_TOKENS) as usize;
        Self {
            files,
            reading,
            roles,
            end: config.document_end,
            max_document: usize::try_from(config.max_document_tokens).unwrap_or(usize::MAX),
            chunk_tokens,
            part,
            from,
            at: Cursor {
                file: from.file,
                chunk: 0,
            },
            open: None,
            row: 0,
            document: 0,
            draft: Draft::default(),
        }
    }

    /// The next chunk of any part; `None` behind the last file.
    fn draw(&mut self) -> Result<Option<Drawn>> {
        let Some(file) = self.files.get(self.at.file as usize) else {
            return Ok(None);
        };
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                (self.row, self.document) = (0, 0);
                exchange::open(file, &self.reading)?
            }
        };
        let mut drawn = Drawn {
            cursor: self.at,
            next: self.at,
            documents: Vec::new(),
            ids: Vec::new(),
            rejections: Vec::new(),
        };
        loop {
            let found = drawn.documents.len() + drawn.rejections.len();
            if drawn.ids.len() >= self.chunk_tokens || found >= CHUNK_DOCUMENTS {
                self.at.chunk += 1;
                self.open = Some(open);
                break;
            }
            match open.next() {
                Some(row) => self.take(row?, file, &mut drawn)?,
                None => {
                    if !self.draft.ids.is_empty() || self.draft.reason.is_some() {
                        self.close(file, &mut drawn);
                    }
                    self.at = Cursor {
                        file: self.at.file + 1,
                        chunk: 0,
                    };
                    break;
                }
            }
        }
        drawn.next = self.at;
        Ok(Some(drawn))
    }

    /// Takes one row of the open file.
    fn take(&mut self, row: Option<Vec<TokenId>>, file: &IdFile, drawn: &mut Drawn) -> Result<()> {
        let stored = self.end == DocumentEnd::Stored;
        if stored || self.draft.ids.is_empty() {
            self.draft.row = self.row;
        }
        if row.is_none() && stored {
            self.draft.reason = Some("a missing value".into());
        }
        for id in row.into_iter().flatten() {
            let Some(meaning) = self.roles.meanings.get(id as usize) else {
                return Err(self.foreign(id, file));
            };
            match meaning {
                Meaning::Text if self.draft.ids.len() >= self.max_document => {
                    let reason = format!("longer than {} tokens", self.max_document);
                    self.draft.reason.get_or_insert(reason);
                }
                Meaning::Text => self.draft.ids.push(id),
                Meaning::Separator if !stored => {
                    if !self.draft.ids.is_empty() || self.draft.reason.is_some() {
                        self.close(file, drawn);
                    }
                    self.draft.row = self.row;
                }
                Meaning::Separator | Meaning::Padding => {}
                Meaning::Masked => {
                    let reason = format!("token {id}, which masks: its text was masked before");
                    self.draft.reason.get_or_insert(reason);
                }
            }
        }
        if stored {
            if self.draft.ids.is_empty() {
                let reason = "no token but special ones".to_owned();
                self.draft.reason.get_or_insert(reason);
            }
            self.close(file, drawn);
        }
        self.row += 1;
        Ok(())
    }

    /// Puts the document that was read into the chunk, or what is wrong with it.
    fn close(&mut self, file: &IdFile, drawn: &mut Drawn) {
        let draft = &mut self.draft;
        let id = document_id(self.at.file, Place::Row(self.document));
        let reason = draft.reason.take().or_else(|| {
            id.is_none()
                .then(|| "it lies beyond 2^40 documents: split the file".into())
        });
        match (reason, id) {
            (None, Some(id)) => {
                drawn.documents.push((id, draft.ids.len()));
                drawn.ids.append(&mut draft.ids);
            }
            (reason, document_id) => drawn.rejections.push(Rejection {
                file: file.path.display().to_string(),
                place: Place::Row(draft.row),
                document_id,
                reason: reason.unwrap_or_default(),
                excerpt: None,
            }),
        }
        draft.ids.clear();
        self.document += 1;
    }

    fn foreign(&self, id: TokenId, file: &IdFile) -> Error {
        Error::mismatch(
            format!("{}, row {}", file.path.display(), self.row),
            format!("token id {id}"),
            format!(
                "ids below {}, as the tokenizer has",
                self.roles.meanings.len()
            ),
            "give the tokenizer that made these ids with --tokenizer, or say with --id-type \
             what they are stored as",
        )
    }
}

impl Iterator for Documents<'_> {
    type Item = Result<Drawn>;

    fn next(&mut self) -> Option<Result<Drawn>> {
        loop {
            match self.draw() {
                Err(error) => return Some(Err(error)),
                Ok(None) => return None,
                Ok(Some(drawn)) => {
                    let Cursor { file, chunk } = drawn.cursor;
                    if drawn.cursor >= self.from && self.part.has(u64::from(file) + chunk) {
                        return Some(Ok(drawn));
                    }
                }
            }
        }
    }
}
