//! Counting and scoring against brute force and published examples.

mod counts;
mod joins;
mod scores;
