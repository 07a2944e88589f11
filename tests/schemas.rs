//! `schemas/` is what the code reads and writes. `make schemas` writes the folder anew
//! after a change; otherwise a difference fails here.

use cloze::columnar::schema;
use cloze::config::{ExperimentConfig, FinetuneConfig, PipelineConfig};
use cloze::evaluation::Evaluation;
use cloze::pipeline::experiment::Results;
use cloze::pipeline::finetune::Report;
use cloze::storage::Manifest;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn hold(name: &str, value: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("schemas")
        .join(name);
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("CLOZE_WRITE_SCHEMAS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "schemas/{name} is not what the code does; if the change is meant, run `make schemas`"
    );
}

#[test]
fn the_pipeline_schema_is_that_of_the_configuration() {
    let schema = serde_json::to_value(schemars::schema_for!(PipelineConfig)).unwrap();
    hold("pipeline.schema.json", &schema);
}

#[test]
fn the_manifest_schema_is_that_of_the_manifest() {
    let schema = serde_json::to_value(schemars::schema_for!(Manifest)).unwrap();
    hold("manifest.schema.json", &schema);
}

#[test]
fn the_evaluation_schema_is_that_of_the_report() {
    let schema = serde_json::to_value(schemars::schema_for!(Evaluation)).unwrap();
    hold("evaluation.schema.json", &schema);
}

#[test]
fn the_schema_of_a_fine_tuning_is_that_of_its_keys_and_its_report() {
    let schema = serde_json::to_value(schemars::schema_for!(FinetuneConfig)).unwrap();
    hold("finetune.schema.json", &schema);
    let schema = serde_json::to_value(schemars::schema_for!(Report)).unwrap();
    hold("finetuning.schema.json", &schema);
}

#[test]
fn the_columns_of_every_file_are_listed() {
    hold(
        "columns.json",
        &json!({
            "tokens (Arrow IPC, up to 65536 entries)": schema::as_json(&schema::documents(false, false)),
            "tokens (Arrow IPC, larger vocabularies)": schema::as_json(&schema::documents(true, false)),
            "shards with units (Arrow IPC, up to 65536 entries)": schema::as_json(&schema::documents(false, true)),
            "shards with units (Arrow IPC, larger vocabularies)": schema::as_json(&schema::documents(true, true)),
            "n-gram counts (Parquet)": schema::as_json(&schema::counts()),
            "sorted run of windows of up to 5 words (Arrow IPC)": schema::as_json(&schema::run(5)),
            "masking vocabulary (Parquet)": schema::as_json(&schema::vocabulary()),
        }),
    );
}

#[test]
fn every_pipeline_in_the_repository_reads_and_checks() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let mut read = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let place = path.display().to_string();
        let config: PipelineConfig = cloze::config::keys::from_toml(&place, &text, &[]).unwrap();
        config.check().unwrap();
        read += 1;
    }
    assert!(read >= 5, "{read} pipelines");
}

#[test]
fn the_schema_of_experiments_is_that_of_the_configuration() {
    let schema = serde_json::to_value(schemars::schema_for!(ExperimentConfig)).unwrap();
    hold("experiment.schema.json", &schema);
}

#[test]
fn the_schema_of_results_is_that_of_the_results() {
    let schema = serde_json::to_value(schemars::schema_for!(Results)).unwrap();
    hold("results.schema.json", &schema);
}

#[test]
fn every_experiment_in_the_repository_reads_and_checks() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/experiments");
    for (name, wanted) in [("cpu", 8), ("gpu", 114)] {
        let path = folder.join(name).with_extension("toml");
        let text = fs::read_to_string(&path).unwrap();
        let place = path.display().to_string();
        // Its kind of device is not everywhere.
        let set = match name {
            "gpu" => vec![
                "train.device=reference".into(),
                "train.precision=f32".into(),
            ],
            _ => Vec::new(),
        };
        let config: ExperimentConfig = cloze::config::keys::from_toml(&place, &text, &set).unwrap();
        let settings = config.settings(&place, &folder).unwrap();
        config.check(&settings).unwrap();
        assert_eq!(settings.len(), wanted);
        assert_eq!(config.name, name);
    }
}
