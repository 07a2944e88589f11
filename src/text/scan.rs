//! One text field of a JSON object by a scan of its bytes: no tree, no value built but the
//! one asked for, runs of plain characters passed over 32 bytes at a time. It knows only
//! lines that are right and have the field as text; whatever else it meets it leaves to
//! [`super::json`], which says what is wrong.

use std::borrow::Cow;

/// Objects and lists inside each other that are passed over here.
const DEPTH: u32 = 64;

/// The text in `field` of the JSON object `line`; of a field that stands twice, the last
/// one. `None` where this is to be asked of serde: a line that is no JSON object, or whose
/// field is missing or no text, or which is nested beyond reason.
pub(super) fn text_field<'a>(line: &'a str, field: &str) -> Option<Cow<'a, str>> {
    let mut scan = Scan {
        line,
        bytes: line.as_bytes(),
        at: 0,
    };
    let mut found = None;
    scan.space();
    scan.expect(b'{')?;
    scan.space();
    if scan.take(b'}') {
        return None;
    }
    loop {
        let key = scan.text()?;
        scan.space();
        scan.expect(b':')?;
        scan.space();
        if key == field {
            found = Some(scan.text()?);
        } else {
            scan.skip_value()?;
        }
        scan.space();
        if scan.take(b'}') {
            break;
        }
        scan.expect(b',')?;
        scan.space();
    }
    scan.space();
    found.filter(|_| scan.at == scan.bytes.len())
}

struct Scan<'a> {
    line: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// A string from its opening to behind its closing quote, unescaped.
    fn text(&mut self) -> Option<Cow<'a, str>> {
        self.expect(b'"')?;
        let start = self.at;
        self.at = special(self.bytes, start);
        if self.peek()? == b'"' {
            self.at += 1;
            return Some(Cow::Borrowed(&self.line[start..self.at - 1]));
        }
        // Escapes are longer than what they stand for: it fits in what the line has left,
        // which for the text of a line is hardly more than its own length.
        let mut text = String::with_capacity(self.bytes.len() - start);
        let mut run = start;
        loop {
            text.push_str(&self.line[run..self.at]);
            match self.next()? {
                b'"' => return Some(Cow::Owned(text)),
                b'\\' => text.push(self.escape()?),
                _ => return None,
            }
            run = self.at;
            self.at = special(self.bytes, run);
        }
    }

    /// The character that the escape behind a backslash stands for.
    fn escape(&mut self) -> Option<char> {
        Some(match self.next()? {
            b'n' => '\n',
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\x08',
            b'f' => '\x0C',
            b'u' => {
                let unit = self.hex()?;
                if (0xD800..0xDC00).contains(&unit) {
                    self.expect(b'\\')?;
                    self.expect(b'u')?;
                    let low = self.hex()?.checked_sub(0xDC00).filter(|&low| low < 0x400)?;
                    return char::from_u32(0x10000 + ((unit - 0xD800) << 10 | low));
                }
                // `None` for half of a pair.
                return char::from_u32(unit);
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, &digit| {
            Some(unit << 4 | char::from(digit).to_digit(16)?)
        })
    }

    /// Passes over a string; its escapes need not mean anything.
    fn skip_string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            self.at = special(self.bytes, self.at);
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => drop(self.hex()?),
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    fn skip_word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..]
            .starts_with(word)
            .then(|| self.at += word.len())
    }

    fn skip_digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn skip_number(&mut self) -> Option<()> {
        self.take(b'-');
        if !self.take(b'0') {
            self.skip_digits()?;
        }
        if self.take(b'.') {
            self.skip_digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _signed = self.take(b'+') || self.take(b'-');
            self.skip_digits()?;
        }
        Some(())
    }

    /// Passes over a value of any kind.
    fn skip_value(&mut self) -> Option<()> {
        // One bit for each object or list that is open, the innermost lowest: 1 for an
        // object.
        let (mut open, mut depth) = (0u64, 0);
        loop {
            let opened = match self.peek()? {
                b'"' => {
                    self.skip_string()?;
                    false
                }
                bracket @ (b'{' | b'[') => {
                    if depth == DEPTH {
                        return None;
                    }
                    self.at += 1;
                    depth += 1;
                    open = open << 1 | u64::from(bracket == b'{');
                    true
                }
                b't' => {
                    self.skip_word(b"true")?;
                    false
                }
                b'f' => {
                    self.skip_word(b"false")?;
                    false
                }
                b'n' => {
                    self.skip_word(b"null")?;
                    false
                }
                _ => {
                    self.skip_number()?;
                    false
                }
            };
            // Behind a value, or an opening bracket: to the next value, or out.
            let mut first = opened;
            loop {
                if depth == 0 {
                    return Some(());
                }
                let in_object = open & 1 == 1;
                self.space();
                if self.take(if in_object { b'}' } else { b']' }) {
                    open >>= 1;
                    depth -= 1;
                    first = false;
                    continue;
                }
                if !first {
                    self.expect(b',')?;
                    self.space();
                }
                if in_object {
                    self.skip_key()?;
                }
                break;
            }
        }
    }

    fn skip_key(&mut self) -> Option<()> {
        self.skip_string()?;
        self.space();
        self.expect(b':')?;
        self.space();
        Some(())
    }
}

/// The first byte from `at` on that is no plain character of a JSON string: a quote, a
/// backslash or a control character; the length of `bytes` where there is none.
#[inline]
fn special(bytes: &[u8], mut at: usize) -> usize {
    const CHUNK: usize = 32;
    while let Some(chunk) = bytes[at..].first_chunk::<CHUNK>() {
        // No early end, so that it is done in wide registers.
        let found = chunk.iter().fold(0, |found, &byte| {
            found | u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < b' ')
        });
        if found != 0 {
            for (index, word) in chunk.chunks_exact(8).enumerate() {
                let word = word.try_into().map_or(0, u64::from_le_bytes);
                let flags = special_flags(word);
                if flags != 0 {
                    return at + 8 * index + flags.trailing_zeros() as usize / 8;
                }
            }
        }
        at += CHUNK;
    }
    let is_special = |&byte: &u8| matches!(byte, b'"' | b'\\') || byte < b' ';
    bytes[at..]
        .iter()
        .position(is_special)
        .map_or(bytes.len(), |place| at + place)
}

/// The high bit of the lowest special byte of `word` is set, and none below it (those
/// above may be wrong: a borrow runs upwards only).
#[inline]
fn special_flags(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGH;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    equal(b'"') | equal(b'\\') | below(word, b' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::json::by_serde;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn escapes_are_what_json_says() {
        for (escaped, text) in [
            (r#"\n\t\r\b\f\/\\\""#, "\n\t\r\u{8}\u{C}/\\\""),
            (r"\u00e9\u4e2d", "é中"),
            (r"\ud83d\ude00 \uD83D\uDE00", "😀 😀"),
            (r"\u0000", "\0"),
            ("é中😀", "é中😀"),
        ] {
            let line = format!(r#"{{"text": "{escaped}"}}"#);
            assert_eq!(text_field(&line, "text").unwrap(), text);
        }
        for escaped in [r"\ud800", r"\udc00", r"\ud800\u0041", r"\u12", r"\x", "\\"] {
            let line = format!(r#"{{"text": "{escaped}"}}"#);
            assert_eq!(text_field(&line, "text"), None, "{escaped}");
            assert!(by_serde(&line, "text").is_err(), "{escaped}");
        }
        // Nobody reads it.
        let line = r#"{"x": "\ud800", "text": "a"}"#;
        assert_eq!(text_field(line, "text").unwrap(), "a");
    }

    #[test]
    fn a_special_byte_is_found_wherever_it_stands() {
        for special_byte in [b'"', b'\\', 0, b'\n', 0x1F] {
            for length in 0..80 {
                for place in 0..length {
                    let mut bytes = vec![0x20 + (length % 2) as u8 * 0xC0; length];
                    bytes[place] = special_byte;
                    for start in [0, place / 2, place] {
                        assert_eq!(special(&bytes, start), place);
                    }
                    assert_eq!(special(&bytes, place + 1), length);
                }
            }
        }
    }

    /// JSON of any kind, written with spaces and escapes of any kind.
    fn value() -> impl Strategy<Value = String> {
        let text = prop_oneof![
            "[a-z \u{7F}é中😀]{0,40}",
            r#"(\\[nrtbf/"\\]|\\u00[0-7][0-9a-fA-F]|\\ud83d\\ude0[0-9]|\\ud8|[ -!#-\[]){0,12}"#,
        ]
        .prop_map(|text| format!("\"{text}\""));
        let leaf = prop_oneof![
            3 => text,
            1 => any::<f64>().prop_map(|n| n.to_string()),
            1 => "-?(0|[1-9][0-9]{0,4})([.][0-9]{0,2})?([eE][+-]?[0-9]{0,2})?",
            1 => prop::sample::select(vec!["true", "false", "null", "nul", ""])
                .prop_map(str::to_owned),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let pair = (key(), inner.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
            prop_oneof![
                (space(), prop::collection::vec(inner, 0..4))
                    .prop_map(|(space, list)| format!("[{space}{}]", list.join(", "))),
                (space(), prop::collection::vec(pair, 0..4))
                    .prop_map(|(space, list)| format!("{{{space}{}}}", list.join(" ,"))),
            ]
        })
    }

    fn key() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            r#""text""#,
            r#""te\u0078t""#,
            r#""a""#,
            r#""""#,
            r#""\"""#,
        ])
        .prop_map(str::to_owned)
    }

    fn space() -> impl Strategy<Value = String> {
        "[ \t\r\n]{0,2}"
    }

    fn object() -> impl Strategy<Value = String> {
        let member = (space(), key(), space(), space(), value(), space());
        let member =
            member.prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"));
        (space(), prop::collection::vec(member, 0..5), space())
            .prop_map(|(a, members, b)| format!("{a}{{{}}}{b}", members.join(",")))
    }

    /// What is left to serde is right by that.
    fn agrees(line: &str) -> Result<(), TestCaseError> {
        if let Some(found) = text_field(line, "text") {
            prop_assert_eq!(Ok(found), by_serde(line, "text"), "{}", line);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn the_scan_and_serde_agree_on_every_object(line in object()) {
            agrees(&line)?;
        }

        #[test]
        fn the_scan_and_serde_agree_on_what_was_broken(
            line in object(), at in any::<prop::sample::Index>(), with in "[\"\\\\{}\\[\\],:\0 0-9ntfu]?",
        ) {
            let mut chars: Vec<char> = line.chars().collect();
            let at = at.index(chars.len());
            chars.splice(at..=at, with.chars());
            agrees(&chars.into_iter().collect::<String>())?;
        }

        #[test]
        fn the_scan_reads_whatever_serde_writes(value in any_value(), text in any::<String>()) {
            let line = serde_json::json!({"a": value, "text": text, "z": 1.5}).to_string();
            prop_assert_eq!(text_field(&line, "text").unwrap(), text);
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<String>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 16, 4, |inner| {
            let key = any::<String>();
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
