//! Layer 1, progress: a bar on a terminal, plain lines elsewhere, JSON lines on
//! request; all on standard error. A stage is handed a [`Progress`] and never asks
//! where it goes. The only place that names indicatif.

pub mod memory;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How progress is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A bar on a terminal, plain lines where there is none.
    Text,
    /// One JSON object a line.
    Json,
    /// Nothing at all.
    Silent,
}

/// What a stage tells a program around it.
#[derive(Debug)]
pub enum Told {
    /// It begins to measure; that is over when nobody else holds `done`.
    Begins {
        /// Name of the stage.
        stage: String,
        /// What is counted.
        unit: &'static str,
        /// How many there will be, where that is known.
        total: Option<u64>,
        /// How many are done.
        done: Arc<AtomicU64>,
    },
    /// One fact of a stage.
    Note(String),
    /// Something that the user should look at.
    Warning(String),
}

/// Where a stage tells what it does.
#[derive(Debug, Clone)]
pub struct Progress {
    format: LogFormat,
    terminal: bool,
    listener: Option<Sender<Told>>,
}

impl Progress {
    /// Tells progress on standard error as `format`.
    pub fn new(format: LogFormat) -> Self {
        Self {
            format,
            terminal: format == LogFormat::Text && std::io::stderr().is_terminal(),
            listener: None,
        }
    }

    /// Tells the program that listens, and nobody else. One that has gone is not missed.
    pub fn told_to(listener: Sender<Told>) -> Self {
        Self {
            listener: Some(listener),
            ..Self::silent()
        }
    }

    /// Tells nothing.
    pub fn silent() -> Self {
        Self {
            format: LogFormat::Silent,
            terminal: false,
            listener: None,
        }
    }

    /// Begins to measure `stage` in `unit`s, out of `total` where that is known.
    pub fn meter(&self, stage: &str, unit: &'static str, total: Option<u64>) -> Meter {
        let bar = self.terminal.then(|| {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(4));
            let template = match total {
                Some(_) => "{prefix:>10} {bar:30} {percent:>3} % {msg} {eta} left",
                None => "{prefix:>10} {spinner} {msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_prefix(stage.to_owned());
            bar
        });
        let done = Arc::new(AtomicU64::new(0));
        self.tell(|| Told::Begins {
            stage: stage.to_owned(),
            unit,
            total,
            done: done.clone(),
        });
        Meter {
            progress: self.clone(),
            stage: stage.to_owned(),
            unit,
            total,
            done,
            began: Instant::now(),
            told: Mutex::new(Instant::now()),
            bar,
        }
    }

    /// Tells one fact of `stage`.
    pub fn note(&self, stage: &str, text: &str) {
        self.tell(|| Told::Note(format!("{stage}: {text}")));
        self.line("note", stage, text);
    }

    /// Tells something that the user should look at.
    pub fn warn(&self, stage: &str, text: &str) {
        self.tell(|| Told::Warning(format!("{stage}: {text}")));
        self.line("warning", stage, text);
    }

    /// Tells figures of `stage`: `text` to people, and with `figures`, an object's fields,
    /// to programs.
    pub fn figures(&self, stage: &str, text: &str, figures: serde_json::Value) {
        if self.format != LogFormat::Json {
            return self.note(stage, text);
        }
        let mut line = json!({"event": "figures", "stage": stage, "text": text});
        if let (Some(line), serde_json::Value::Object(figures)) = (line.as_object_mut(), figures) {
            line.extend(figures);
        }
        emit(&line.to_string());
    }

    fn tell(&self, told: impl FnOnce() -> Told) {
        if let Some(listener) = &self.listener {
            let _ = listener.send(told());
        }
    }

    fn line(&self, kind: &str, stage: &str, text: &str) {
        match self.format {
            LogFormat::Silent => {}
            LogFormat::Json => {
                emit(&json!({"event": kind, "stage": stage, "text": text}).to_string())
            }
            LogFormat::Text if kind == "warning" => emit(&format!("{stage:>10} warning: {text}")),
            LogFormat::Text => emit(&format!("{stage:>10} {text}")),
        }
    }
}

/// The progress of one stage; may be told from several threads.
pub struct Meter {
    progress: Progress,
    stage: String,
    unit: &'static str,
    total: Option<u64>,
    done: Arc<AtomicU64>,
    began: Instant,
    told: Mutex<Instant>,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// `n` more units are done.
    pub fn add(&self, n: u64) {
        let done = self.done.fetch_add(n, Ordering::Relaxed) + n;
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(self.rate(done));
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= Duration::from_secs(5) {
            *told = Instant::now();
            self.tell(done);
        }
    }

    /// Units done so far.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends the meter; `summary` is its last line.
    pub fn finish(self, summary: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let stage = &self.stage;
        self.progress
            .tell(|| Told::Note(format!("{stage}: {summary} in {seconds:.1} s")));
        match self.progress.format {
            LogFormat::Silent => {}
            LogFormat::Json => emit(
                &json!({"event": "done", "stage": self.stage, "unit": self.unit,
                        "count": self.done(), "seconds": seconds, "text": summary})
                .to_string(),
            ),
            LogFormat::Text => emit(&format!("{:>10} {summary} in {seconds:.1} s", self.stage)),
        }
    }

    fn tell(&self, done: u64) {
        match self.progress.format {
            LogFormat::Silent => {}
            LogFormat::Json => emit(
                &json!({"event": "progress", "stage": self.stage, "unit": self.unit,
                        "count": done, "total": self.total,
                        "seconds": self.began.elapsed().as_secs_f64()})
                .to_string(),
            ),
            LogFormat::Text => {
                let mut line = format!("{:>10} {}", self.stage, self.rate(done));
                if let Some(total) = self.total.filter(|&total| total > 0 && done > 0) {
                    let left = self.began.elapsed().as_secs_f64()
                        * (total.saturating_sub(done)) as f64
                        / done as f64;
                    line += &format!(
                        ", {:.0} %, {left:.0} s left",
                        100.0 * done as f64 / total as f64
                    );
                }
                emit(&line);
            }
        }
    }

    fn rate(&self, done: u64) -> String {
        let per_second = done as f64 / self.began.elapsed().as_secs_f64().max(1e-9);
        format!(
            "{} {} ({} a second)",
            short(done as f64),
            self.unit,
            short(per_second)
        )
    }
}

/// A number with three digits and k, M, G or T.
pub fn short(number: f64) -> String {
    for (unit, name) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if number >= unit {
            let scaled = number / unit;
            let digits = match scaled {
                x if x >= 100.0 => 0,
                x if x >= 10.0 => 1,
                _ => 2,
            };
            return format!("{scaled:.digits$}{name}");
        }
    }
    format!("{number:.0}")
}

/// A closed standard error is no reason to stop a stage.
fn emit(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!(short(999.0), "999");
        assert_eq!(short(1234.0), "1.23k");
        assert_eq!(short(21_332_109.0), "21.3M");
        assert_eq!(short(350e6), "350M");
    }
}
