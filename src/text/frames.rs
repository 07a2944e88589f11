//! Cuts a stream of bytes into the frames of single documents: a file, a line, a
//! paragraph, or what stands between `<doc …>` and `</doc>`. A frame is known by the
//! byte where it begins, so a file may be read from any offset on and gives the same
//! frames. Memory: one frame, at most `limit` bytes; what is longer is passed over.

use crate::storage::Input;
use memchr::memchr;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;

/// What one document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// All bytes.
    File,
    /// A line that is not blank.
    Line,
    /// A run of lines that are not blank.
    Paragraph,
    /// The lines between a line `<doc …>` and a line `</doc>`.
    Wikiextractor,
}

/// The bytes of one document, or why there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Offset of its first byte in the (decompressed) file.
    pub start: u64,
    /// Its bytes, without the line end behind them.
    pub content: Result<Vec<u8>, Fault>,
}

/// Why a frame cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub reason: String,
    /// How the frame begins, as far as that is known.
    pub excerpt: Vec<u8>,
}

/// How much of a frame that is too long is kept to show.
const EXCERPT: usize = 400;

/// A line end that does not count towards the limit.
const LINE_END: usize = 2;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The frames of a stream, in order.
pub struct Frames {
    reader: Box<dyn BufRead + Send>,
    framing: Framing,
    limit: usize,
    /// Offset of the next byte.
    at: u64,
    /// Frames that begin here or later are not looked for.
    end: u64,
    /// Beginning of a `<doc` line that was read already.
    header: Option<u64>,
    /// Where the text begins, until the first `<doc` line is found.
    top: Option<u64>,
    done: bool,
}

/// What one line of the stream was.
#[derive(Clone, Copy)]
struct Line {
    blank: bool,
}

/// A frame being read.
struct Draft {
    start: u64,
    content: Vec<u8>,
    reason: Option<String>,
}

impl Frames {
    /// The frames of `reader` from its beginning; a byte-order mark is dropped.
    pub fn from_start(
        mut reader: Box<dyn BufRead + Send>,
        framing: Framing,
        limit: usize,
    ) -> io::Result<Self> {
        let mut head = Vec::new();
        reader.by_ref().take(3).read_to_end(&mut head)?;
        let mark = if head == BYTE_ORDER_MARK { 3 } else { 0 };
        head.drain(..mark);
        Ok(Self {
            reader: Box::new(Cursor::new(head).chain(reader)),
            framing,
            limit,
            at: mark as u64,
            end: u64::MAX,
            header: None,
            top: Some(mark as u64),
            done: false,
        })
    }

    /// The frames of `file` that begin in `range`: what [`Frames::from_start`] gives,
    /// without reading what lies before (but for the line across the border).
    pub fn from_range(
        mut file: Input,
        framing: Framing,
        limit: usize,
        range: Range<u64>,
    ) -> io::Result<Self> {
        let mut mark = [0; 3];
        file.expect_until(range.end);
        let has_mark = file.read_exact_at(&mut mark, 0).is_ok() && mark == BYTE_ORDER_MARK;
        let top = if has_mark { 3 } else { 0 };
        let mut reader = BufReader::with_capacity(256 << 10, file);
        if range.start <= top {
            let mut frames = Self::from_start(Box::new(reader), framing, limit)?;
            frames.end = range.end;
            frames.done = range.end <= top;
            return Ok(frames);
        }
        let before = range.start - 1;
        let lines_before_are_blank = match framing {
            Framing::Paragraph => is_blank_before(reader.get_ref(), top, before)?,
            _ => true,
        };
        reader.seek(SeekFrom::Start(before))?;
        let mut frames = Self {
            reader: Box::new(reader),
            framing,
            limit,
            at: before,
            end: range.end,
            header: None,
            top: None,
            done: framing == Framing::File,
        };
        frames.skip_into(lines_before_are_blank)?;
        Ok(frames)
    }

    /// From the byte before the range to the first place where a frame may begin; no
    /// further than the end of the range, so that a line over many ranges is read
    /// once and not once a range.
    fn skip_into(&mut self, lines_before_are_blank: bool) -> io::Result<()> {
        let across = self.line_up_to(self.end, &mut Vec::new(), 0)?;
        if self.framing == Framing::Paragraph {
            let mut inside = !lines_before_are_blank || !is_blank_line(across);
            while inside && self.at < self.end {
                let line = self.line_up_to(self.end, &mut Vec::new(), 0)?;
                inside = !is_blank_line(line);
            }
        }
        Ok(())
    }

    /// Reads to the end of the line; appends what of it fits in `room` bytes of
    /// `out`. `None` at the end of the stream.
    fn line(&mut self, out: &mut Vec<u8>, room: usize) -> io::Result<Option<Line>> {
        self.line_up_to(u64::MAX, out, room)
    }

    /// As [`Frames::line`], but gives up once offset `stop` is reached.
    fn line_up_to(
        &mut self,
        stop: u64,
        out: &mut Vec<u8>,
        room: usize,
    ) -> io::Result<Option<Line>> {
        let mut line = Line { blank: true };
        let begin = self.at;
        loop {
            let bytes = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                bytes => bytes?,
            };
            let newline = memchr(b'\n', bytes);
            let bytes = &bytes[..newline.map_or(bytes.len(), |at| at + 1)];
            if bytes.is_empty() {
                return Ok((self.at > begin).then_some(line));
            }
            line.blank = line.blank && bytes.iter().all(|&byte| is_space(byte));
            let fits = room.saturating_sub(out.len()).min(bytes.len());
            out.extend_from_slice(&bytes[..fits]);
            let length = bytes.len();
            self.reader.consume(length);
            self.at += length as u64;
            if newline.is_some() || self.at >= stop {
                return Ok(Some(line));
            }
        }
    }

    /// Reads the first line of `draft` that is not blank; `false` if there is none
    /// before the end.
    fn read_line(&mut self, draft: &mut Draft) -> io::Result<bool> {
        while self.at < self.end {
            draft.start = self.at;
            match self.line(&mut draft.content, self.limit + LINE_END)? {
                None => return Ok(false),
                Some(line) if !line.blank => return Ok(true),
                Some(_) => draft.content.clear(),
            }
        }
        Ok(false)
    }

    fn read_paragraph(&mut self, draft: &mut Draft) -> io::Result<bool> {
        if !self.read_line(draft)? {
            return Ok(false);
        }
        loop {
            let length = draft.content.len();
            let line = self.line(&mut draft.content, self.limit + LINE_END)?;
            if is_blank_line(line) {
                draft.content.truncate(length);
                return Ok(true);
            }
        }
    }

    fn read_wiki(&mut self, draft: &mut Draft) -> io::Result<bool> {
        match self.header.take() {
            Some(header) => draft.start = header,
            None => {
                if !self.find_header(draft)? || draft.reason.is_some() {
                    return Ok(draft.reason.is_some());
                }
            }
        }
        if draft.start >= self.end {
            return Ok(false);
        }
        loop {
            let length = draft.content.len();
            let line_start = self.at;
            // Room for one more line, so that the end is seen behind text too long.
            let room = length + self.limit + LINE_END;
            if self.line(&mut draft.content, room)?.is_none() {
                draft.fail("no </doc> to the end of the file");
                return Ok(true);
            }
            let line = draft.content[length..].trim_ascii_end();
            if let Some(last) = line.strip_suffix(b"</doc>") {
                draft.content.truncate(length + last.len());
                return Ok(true);
            }
            if is_header(line) {
                self.header = Some(line_start);
                draft.content.truncate(length);
                draft.fail("no </doc> before the next <doc …>");
                return Ok(true);
            }
            draft.check_length(self.limit, LINE_END);
        }
    }

    /// Finds the next `<doc …>` line. Text above the first one is a fault of the
    /// file, which begins where the file does.
    fn find_header(&mut self, draft: &mut Draft) -> io::Result<bool> {
        while self.top.is_some() || self.at < self.end {
            draft.start = self.at;
            let mut line = Vec::new();
            let Some(Line { blank }) = self.line(&mut line, EXCERPT)? else {
                return Ok(false);
            };
            if is_header(&line) {
                self.top = None;
                return Ok(true);
            }
            if let Some(top) = self.top.take_if(|_| !blank) {
                draft.start = top;
                draft.content = line;
                draft.fail("text above the first <doc …>");
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_file(&mut self, draft: &mut Draft) -> io::Result<bool> {
        draft.start = self.at;
        let room = (self.limit as u64).saturating_add(1);
        let read = self
            .reader
            .by_ref()
            .take(room)
            .read_to_end(&mut draft.content)?;
        self.at += read as u64;
        self.done = true;
        Ok(true)
    }

    fn read(&mut self, draft: &mut Draft) -> io::Result<bool> {
        let found = match self.framing {
            Framing::File => self.read_file(draft)?,
            Framing::Line => self.read_line(draft)?,
            Framing::Paragraph => self.read_paragraph(draft)?,
            Framing::Wikiextractor => self.read_wiki(draft)?,
        };
        if self.framing != Framing::File {
            trim_line_ends(&mut draft.content, self.framing == Framing::Wikiextractor);
        }
        draft.check_length(self.limit, 0);
        Ok(found)
    }
}

impl Iterator for Frames {
    type Item = Frame;

    /// The next frame. Where the stream breaks, the frame at hand is a fault, and the
    /// last one.
    fn next(&mut self) -> Option<Frame> {
        if self.done {
            return None;
        }
        let mut draft = Draft {
            start: self.at,
            content: Vec::new(),
            reason: None,
        };
        match self.read(&mut draft) {
            Ok(true) => {}
            Ok(false) => {
                self.done = true;
                return None;
            }
            Err(error) => {
                self.done = true;
                draft.reason = Some(broken(&error));
            }
        }
        Some(draft.into_frame())
    }
}

impl Draft {
    fn fail(&mut self, reason: &str) {
        self.reason.get_or_insert_with(|| reason.to_owned());
    }

    fn check_length(&mut self, limit: usize, line_end: usize) {
        if self.content.len() > limit + line_end {
            self.fail(&format!("longer than {limit} bytes"));
            self.content.truncate(EXCERPT);
        }
    }

    fn into_frame(self) -> Frame {
        let content = match self.reason {
            None => Ok(self.content),
            Some(reason) => {
                let mut excerpt = self.content;
                excerpt.truncate(EXCERPT);
                Err(Fault { reason, excerpt })
            }
        };
        Frame {
            start: self.start,
            content,
        }
    }
}

/// What a failed read says to the user.
pub(super) fn broken(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file is cut short here".into(),
        _ => format!("the file cannot be read: {error}"),
    }
}

fn is_header(line: &[u8]) -> bool {
    line.starts_with(b"<doc ")
}

/// A blank line, or the end of the stream.
fn is_blank_line(line: Option<Line>) -> bool {
    line.is_none_or(|line| line.blank)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Takes one line end off the end, or all of them off both ends.
fn trim_line_ends(content: &mut Vec<u8>, all: bool) {
    if all {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let end = content
            .iter()
            .rposition(|byte| !is_end(byte))
            .map_or(0, |at| at + 1);
        content.truncate(end);
        let start = content.iter().position(|byte| !is_end(byte)).unwrap_or(0);
        content.drain(..start);
    } else if content.last() == Some(&b'\n') {
        content.pop();
        if content.last() == Some(&b'\r') {
            content.pop();
        }
    }
}

/// Whether the line that byte `at` belongs to holds nothing but whitespace before
/// it. Goes back to the line's beginning or the first other byte, in pieces of 4 KiB.
fn is_blank_before(file: &Input, top: u64, at: u64) -> io::Result<bool> {
    let mut end = at;
    let mut piece = [0; 4096];
    while end > top {
        let start = end.saturating_sub(piece.len() as u64).max(top);
        let bytes = &mut piece[..(end - start) as usize];
        file.read_exact_at(bytes, start)?;
        for &byte in bytes.iter().rev() {
            match byte {
                b'\n' => return Ok(true),
                byte if !is_space(byte) => return Ok(false),
                _ => {}
            }
        }
        end = start;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from_start(bytes: &[u8], framing: Framing, limit: usize) -> Vec<Frame> {
        let reader = Box::new(Cursor::new(bytes.to_vec()));
        Frames::from_start(reader, framing, limit)
            .unwrap()
            .collect()
    }

    /// (offset, text) of each frame; faults as `!reason`.
    fn shown(bytes: &str, framing: Framing, limit: usize) -> Vec<(u64, String)> {
        from_start(bytes.as_bytes(), framing, limit)
            .into_iter()
            .map(|frame| match frame.content {
                Ok(content) => (frame.start, String::from_utf8(content).unwrap()),
                Err(fault) => (frame.start, format!("!{}", fault.reason)),
            })
            .collect()
    }

    fn expect(found: &[(u64, String)], expected: &[(u64, &str)]) {
        let found: Vec<(u64, &str)> = found.iter().map(|(at, s)| (*at, s.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_lose_their_ends_and_blank_ones_are_none() {
        let text = "\u{FEFF}one\r\n\n \t\n two \nthree";
        expect(
            &shown(text, Framing::Line, 100),
            &[(3, "one"), (12, " two "), (18, "three")],
        );
        expect(&shown("\n\n", Framing::Line, 100), &[]);
    }

    #[test]
    fn paragraphs_run_from_blank_line_to_blank_line() {
        let text = "\n a\r\nb\n \n\nc\n\n";
        expect(
            &shown(text, Framing::Paragraph, 100),
            &[(1, " a\r\nb"), (10, "c")],
        );
    }

    #[test]
    fn a_file_is_one_frame_also_when_empty() {
        expect(&shown("\u{FEFF}a\n", Framing::File, 100), &[(3, "a\n")]);
        expect(&shown("", Framing::File, 100), &[(0, "")]);
        expect(
            &shown("abc", Framing::File, 2),
            &[(0, "!longer than 2 bytes")],
        );
    }

    #[test]
    fn wiki_documents_lie_between_their_tags() {
        let text = "<doc id=\"1\">\nA\n\nx\n</doc>\n<doc id=\"2\">\nB\n<doc id=\"3\">\nC</doc>\n<doc x>\nD";
        expect(
            &shown(text, Framing::Wikiextractor, 100),
            &[
                (0, "A\n\nx"),
                (25, "!no </doc> before the next <doc …>"),
                (40, "C"),
                (61, "!no </doc> to the end of the file"),
            ],
        );
        expect(
            &shown(
                "stray\nmore\n<doc >\nA\n</doc>\n",
                Framing::Wikiextractor,
                100,
            ),
            &[(0, "!text above the first <doc …>"), (11, "A")],
        );
    }

    #[test]
    fn what_is_too_long_is_passed_over_and_reading_goes_on() {
        let long = "x".repeat(600_000);
        let text = format!("a\n{long}\nb\r\n12345678\r\n");
        expect(
            &shown(&text, Framing::Line, 8),
            &[
                (0, "a"),
                (2, "!longer than 8 bytes"),
                (600_003, "b"),
                (600_006, "12345678"),
            ],
        );
        let text = format!("a\n{long}\nb\n\nc");
        expect(
            &shown(&text, Framing::Paragraph, 9),
            &[(0, "!longer than 9 bytes"), (600_006, "c")],
        );
        let text = format!("<doc >\n{long}\ny\n{long}\n</doc>\n<doc >\nc\n</doc>\n");
        expect(
            &shown(&text, Framing::Wikiextractor, 500),
            &[(0, "!longer than 500 bytes"), (1_200_018, "c")],
        );
    }

    #[test]
    fn a_stream_that_breaks_keeps_what_came_before() {
        struct Breaks(Cursor<Vec<u8>>);
        impl Read for Breaks {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                match self.0.read(out)? {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    read => Ok(read),
                }
            }
        }
        let bytes = b"one\ntwo\nthr".to_vec();
        let reader = Box::new(BufReader::new(Breaks(Cursor::new(bytes))));
        let frames: Vec<Frame> = Frames::from_start(reader, Framing::Line, 100)
            .unwrap()
            .collect();
        assert_eq!(frames.len(), 3);
        assert_eq!(frames[1].content, Ok(b"two".to_vec()));
        assert_eq!(frames[2].start, 8);
        let fault = frames[2].content.clone().unwrap_err();
        assert_eq!(fault.reason, "the file is cut short here");
        assert_eq!(fault.excerpt, b"thr");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn reading_by_chunks_of_any_size_gives_the_same_frames(
            text in "(\u{FEFF})?([ab \t]{0,3}(\r?\n){0,3}|<doc i>\n|</doc>\n|[ab]{0,4}|\n\n|x{9,12}\n){0,20}",
            chunk in 1u64..40,
            limit in 4usize..20,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("text");
            std::fs::write(&path, &text).unwrap();
            for framing in [Framing::Line, Framing::Paragraph, Framing::Wikiextractor] {
                let whole = from_start(text.as_bytes(), framing, limit);
                let mut pieces = Vec::new();
                let mut start = 0;
                while start < text.len() as u64 {
                    let file = Input::open(&path, &crate::storage::Lost::default()).unwrap();
                    let range = start..start + chunk;
                    let frames = Frames::from_range(file, framing, limit, range.clone()).unwrap();
                    for frame in frames {
                        prop_assert!(range.contains(&frame.start));
                        pieces.push(frame);
                    }
                    start += chunk;
                }
                prop_assert_eq!(&pieces, &whole, "{:?}", framing);
            }
        }
    }
}
