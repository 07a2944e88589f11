//! What a vocabulary's spellings carry beside text: `##` of WordPiece, `Ġ` and the
//! other stand-ins of byte-level BPE, `▁` of SentencePiece, `</w>` of older BPE.
//! Takes them off, token by token; one table look-up a character.

use serde_json::Value;

/// The markers of one tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Markers {
    /// Every byte has a printable stand-in (GPT-2).
    byte_level: bool,
    /// Stands for a space (SentencePiece).
    space: Option<char>,
    /// `<0x0A>` stands for a byte.
    byte_fallback: bool,
    /// Opens a piece that goes on with a word.
    prefix: String,
    /// Closes the last piece of a word.
    suffix: String,
}

/// How the spellings of a vocabulary show where words start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WordMarks {
    /// `##` in front of what goes on with a word; anything else opens one.
    Prefix,
    /// `</w>` behind what ends a word.
    Suffix,
    /// A space in front of what opens a word; other words begin where letters, digits
    /// and other characters meet.
    Bytes,
    /// A space in front of what opens a word, and nowhere else.
    Space,
}

impl Markers {
    /// Reads them from a `tokenizer.json`.
    pub(super) fn of(tokenizer: &Value) -> Self {
        let parts = ["normalizer", "pre_tokenizer", "decoder"].map(|key| &tokenizer[key]);
        let model = &tokenizer["model"];
        let text = |key: &str| model[key].as_str().unwrap_or_default().to_owned();
        Self {
            byte_level: parts.iter().any(|part| find(part, "ByteLevel").is_some()),
            space: parts.iter().find_map(|part| space_marker(part)),
            byte_fallback: model["byte_fallback"] == true,
            prefix: text("continuing_subword_prefix"),
            suffix: text("end_of_word_suffix"),
        }
    }

    /// Whether [`Markers::strip`] leaves ASCII letters and digits, and punctuation of one
    /// character, as they are.
    pub(super) fn spare_words(&self) -> bool {
        let is_word = |affix: &str| affix.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let affixes = [&self.prefix, &self.suffix];
        !self.byte_level
            && self.space.is_none_or(|space| !space.is_ascii())
            && affixes
                .iter()
                .all(|affix| affix.is_empty() || !is_word(affix))
    }

    /// Appends the text bytes of a token; they may be no UTF-8 by themselves.
    pub(super) fn strip(&self, spelling: &str, out: &mut Vec<u8>) {
        let piece = within(spelling, |s| s.strip_prefix(self.prefix.as_str()));
        let piece = within(piece, |s| s.strip_suffix(self.suffix.as_str()));
        if self.byte_level && piece.chars().all(|c| stand_in(c).is_some()) {
            out.extend(piece.chars().filter_map(stand_in));
        } else if let Some(byte) = self.fallback_byte(piece) {
            out.push(byte);
        } else if let Some(marker) = self.space {
            for part in piece.split_inclusive(marker) {
                match part.strip_suffix(marker) {
                    Some(before) => {
                        out.extend_from_slice(before.as_bytes());
                        out.push(b' ');
                    }
                    None => out.extend_from_slice(part.as_bytes()),
                }
            }
        } else {
            out.extend_from_slice(piece.as_bytes());
        }
    }

    /// Appends the text bytes of a token with the spaces around it that its spelling
    /// tells of: byte-level and SentencePiece vocabularies spell them out, others mark
    /// what goes on with a word (`##`) or ends it (`</w>`).
    pub(super) fn surface(&self, spelling: &str, out: &mut Vec<u8>) {
        let spelled_out = self.byte_level || self.space.is_some();
        let goes_on = !self.prefix.is_empty() && spelling.starts_with(&self.prefix);
        if !spelled_out && self.suffix.is_empty() && !goes_on {
            out.push(b' ');
        }
        self.strip(spelling, out);
        if !spelled_out && !self.suffix.is_empty() && spelling.ends_with(&self.suffix) {
            out.push(b' ');
        }
    }

    /// How spellings show where words start.
    pub(super) fn word_marks(&self) -> WordMarks {
        if self.byte_level {
            WordMarks::Bytes
        } else if self.space.is_some() {
            WordMarks::Space
        } else if self.suffix.is_empty() {
            WordMarks::Prefix
        } else {
            WordMarks::Suffix
        }
    }

    /// Whether a piece goes on with the word before it (`##`).
    pub(super) fn goes_on(&self, spelling: &str) -> bool {
        !self.prefix.is_empty()
            && spelling.len() > self.prefix.len()
            && spelling.starts_with(&self.prefix)
    }

    /// Whether a piece ends its word (`</w>`).
    pub(super) fn ends_word(&self, spelling: &str) -> bool {
        !self.suffix.is_empty() && spelling.ends_with(&self.suffix)
    }

    fn fallback_byte(&self, piece: &str) -> Option<u8> {
        let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
        (self.byte_fallback && digits.len() == 2)
            .then(|| u8::from_str_radix(digits, 16).ok())
            .flatten()
    }
}

/// `spelling` without an affix, unless the affix is all of it.
fn within<'a>(spelling: &'a str, strip: impl Fn(&'a str) -> Option<&'a str>) -> &'a str {
    strip(spelling)
        .filter(|rest| !rest.is_empty())
        .unwrap_or(spelling)
}

/// The component of `kind` in a part of a `tokenizer.json`, sequences included.
fn find<'a>(part: &'a Value, kind: &str) -> Option<&'a Value> {
    if part["type"] == kind {
        return Some(part);
    }
    ["normalizers", "pretokenizers", "decoders"]
        .iter()
        .filter_map(|key| part[key].as_array())
        .flatten()
        .find_map(|inner| find(inner, kind))
}

/// What stands for a space: Metaspace's replacement, or what a normalizer puts for
/// spaces.
fn space_marker(part: &Value) -> Option<char> {
    if let Some(metaspace) = find(part, "Metaspace") {
        return metaspace["replacement"].as_str()?.chars().next();
    }
    let replace = find(part, "Replace")?;
    if replace["pattern"]["String"] != " " {
        return None;
    }
    let mut content = replace["content"].as_str()?.chars();
    content.next().filter(|_| content.next().is_none())
}

/// The byte that a character stands for in byte-level vocabularies: printable
/// Latin-1 stands for itself, the other 68 bytes follow from U+0100 on (GPT-2,
/// `bytes_to_unicode`).
fn stand_in(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// The stand-in of a whitespace byte, for texts that may hold no whitespace.
pub(super) fn visible(c: char) -> char {
    match c {
        '\0'..='\u{20}' => char::from_u32(0x100 + u32::from(c)).unwrap_or('\u{FFFD}'),
        c if c.is_whitespace() => '\u{2423}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tokens_bring_their_spaces_along() {
        let surface = |tokenizer: Value, spelling: &str| {
            let mut out = Vec::new();
            Markers::of(&tokenizer).surface(spelling, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        let wordpiece = json!({"model": {"continuing_subword_prefix": "##"}});
        assert_eq!(surface(wordpiece.clone(), "sea"), " sea");
        assert_eq!(surface(wordpiece, "##ing"), "ing");
        let bytes = json!({"pre_tokenizer": {"type": "ByteLevel"}});
        assert_eq!(surface(bytes.clone(), "Ġsea"), " sea");
        assert_eq!(surface(bytes, "ing"), "ing");
        let suffix = json!({"model": {"end_of_word_suffix": "</w>"}});
        assert_eq!(surface(suffix, "sea</w>"), "sea ");
    }

    fn stripped(tokenizer: Value, spelling: &str) -> String {
        let mut out = Vec::new();
        Markers::of(&tokenizer).strip(spelling, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn the_byte_stand_ins_are_those_of_gpt2() {
        let mut bytes: Vec<u8> = (0..0x144u32)
            .filter_map(char::from_u32)
            .filter_map(stand_in)
            .collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        for (c, byte) in [('Ġ', b' '), ('Ċ', b'\n'), ('ł', 0xA0), ('Ń', 0xAD)] {
            assert_eq!(stand_in(c), Some(byte), "{c}");
            if byte.is_ascii() {
                assert_eq!(visible(byte.into()), c);
            }
        }
    }

    #[test]
    fn markers_of_each_kind_come_off() {
        let wordpiece = json!({"model": {"continuing_subword_prefix": "##"}});
        assert_eq!(stripped(wordpiece.clone(), "##ing"), "ing");
        assert_eq!(stripped(wordpiece, "##"), "##");
        let bytes = json!({"pre_tokenizer": {"type": "Sequence", "pretokenizers":
            [{"type": "Split"}, {"type": "ByteLevel"}]}});
        assert_eq!(stripped(bytes.clone(), "ĠcafÃ©"), " café");
        assert_eq!(stripped(bytes, "two words"), "two words");
        let metaspace = json!({"pre_tokenizer": {"type": "Metaspace", "replacement": "▁"}});
        assert_eq!(stripped(metaspace, "▁sea▁"), " sea ");
        let llama = json!({
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
            "model": {"byte_fallback": true}});
        assert_eq!(stripped(llama.clone(), "▁sea"), " sea");
        assert_eq!(stripped(llama, "<0x0A>"), "\n");
        let suffix = json!({"model": {"end_of_word_suffix": "</w>"}});
        assert_eq!(stripped(suffix, "sea</w>"), "sea");
    }
}
