//! Neither threads nor memory change a byte.

use crate::{Novel, counted, options, parquet_files};
use cloze::base::size::ByteSize;
use cloze::pipeline::count::count;
use cloze::pipeline::runs::count_run;
use std::fs;

#[test]
fn threads_memory_and_parts_leave_the_bytes_as_they_are() {
    let Novel {
        dir,
        tokens,
        config,
    } = Novel::tokenised();
    let (manifest, expected) = counted(&config, &tokens, &dir.path().join("reference"));
    assert_eq!(expected.len(), 5);
    assert!(manifest.total("ngrams_2") > 1000);
    assert!(manifest.total("ngrams_5") > 0);
    for (threads, memory) in [(1, 1024), (8, 1024), (1, 2), (2, 2), (8, 2)] {
        let output = dir.path().join(format!("{threads}-{memory}"));
        let options = options(threads, ByteSize::mib(memory));
        let found = count(&config, &tokens, &output, &options).unwrap();
        assert_eq!(
            parquet_files(&output),
            expected,
            "{threads} threads, {memory} MiB"
        );
        assert_eq!(found.totals, manifest.totals);
        assert!(!dir.path().join(".scratch").exists());
    }
}

#[test]
fn threads_and_memory_leave_the_bytes_of_a_run_as_they_are() {
    let Novel {
        dir,
        tokens,
        config,
    } = Novel::tokenised();
    let mut expected = None;
    for (threads, memory) in [(1, 1024), (8, 1024), (1, 4), (2, 4)] {
        let output = dir.path().join(format!("{threads}-{memory}"));
        let options = options(threads, ByteSize::mib(memory));
        count_run(&config, &tokens, &output, &options).unwrap();
        let found = [
            fs::read(output.join("words.parquet")),
            fs::read(output.join("windows.arrow")),
        ]
        .map(|bytes| bytes.unwrap());
        let expected = expected.get_or_insert_with(|| found.clone());
        assert!(found == *expected, "{threads} threads, {memory} MiB");
    }
}
