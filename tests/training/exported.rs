//! Models as others read them, and runs that others repeat.

use super::*;

/// For `tests/python/test_export.py`, which loads the folder with transformers.
#[test]
fn exported_models_and_their_losses_are_left_for_transformers() {
    let special = |pad| SpecialTokens {
        mask: Some(MASK),
        cls: Some(2),
        sep: Some(3),
        pad,
        unk: None,
        reserved: vec![0, 1, 2, 3],
        sentinels: Vec::new(),
    };
    let mut kinds: Vec<(String, TrainConfig, Option<u32>)> = Vec::new();
    for (name, config) in all_kinds() {
        if config.model.architecture == Architecture::RobertaPrelayernorm {
            let without = name.replace("roberta-prelayernorm", "without-padding");
            kinds.push((without, config.clone(), None));
        }
        kinds.push((name, config, Some(0)));
    }
    for (name, config, pad) in kinds {
        let trial = Trial::new(config);
        let outcome = trial.train().unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("export")
            .join(&name);
        export(&outcome.model, &special(pad), &folder).unwrap();
        let mut batch = trial.batch(3, 0);
        if pad.is_none() && batch.layout == Layout::InPlace {
            // Whole rows only.
            batch = Batch {
                lengths: vec![LENGTH as u32; ROWS],
                cu_seqlens: (0..=ROWS).map(|row| (row * LENGTH) as u32).collect(),
                input: batch.input.iter().map(|&id| id.max(4)).collect(),
                ..batch
            };
        }
        let tally = outcome.model.evaluate(&batch).unwrap();
        let logits = outcome.model.logits(&batch).unwrap();

        // Read back, it is the same model, but for a row that pads the vocabulary.
        let keys = ModelConfig {
            decoder: outcome
                .model
                .shape
                .decoder
                .map(|_| DecoderConfig::default()),
            ..ModelConfig::default()
        };
        let again = import(&folder, &keys, 0).unwrap();
        assert_eq!(again.shape.rotary, outcome.model.shape.rotary);
        assert_eq!(again.shape.decoder, outcome.model.shape.decoder);
        let known = again.logits(&batch).unwrap();
        for row in 0..logits.rows() {
            assert_eq!(logits.row(row), &known.row(row)[..logits.cols()], "{name}");
        }

        let mut expected = as_json(&batch);
        let fields = expected.as_object_mut().unwrap();
        let more = serde_json::json!({
            "rows": batch.rows,
            "loss": tally.mean(),
            "accuracy": tally.accuracy(),
            "logits": logits.to_vec(),
            "parameters": outcome.model.parameters.count(),
        });
        fields.extend(more.as_object().unwrap().clone());
        fs::write(folder.join("expected.json"), expected.to_string()).unwrap();
    }
}

#[test]
fn an_export_in_place_of_one_with_a_decoder_is_a_model_without() {
    let folder = tempfile::tempdir().unwrap();
    let special = SpecialTokens {
        pad: Some(0),
        ..SpecialTokens::default()
    };
    let keys = ModelConfig::default();
    let with = Trial::new(config_removed(Architecture::Bert)).model();
    export(&with, &special, folder.path()).unwrap();
    let refused = import(folder.path(), &keys, 0).unwrap_err().to_string();
    assert!(refused.contains("decoder.json"), "{refused}");
    let without = Trial::new(config(Architecture::Bert)).model();
    export(&without, &special, folder.path()).unwrap();
    assert!(import(folder.path(), &keys, 0).is_ok());
}

/// For `tests/python/test_pytorch.py`, which takes the same 200 steps: initial weights,
/// the gradients of the first batch, all batches, and the loss of each step.
#[test]
fn two_hundred_steps_are_left_for_pytorch_to_repeat() {
    const STEPS: u64 = 200;
    let special = SpecialTokens {
        pad: Some(0),
        ..SpecialTokens::default()
    };
    for (name, config) in all_kinds() {
        let mut config = TrainConfig {
            steps: Some(STEPS),
            log_every: 1,
            ..config
        };
        config.model.dropout = Some(0.0);
        config.model.attention_dropout = Some(0.0);
        config.optimizer.learning_rate = 1e-3;
        let trial = Trial::new(config);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("pytorch")
            .join(name);
        let model = trial.model();
        export(&model, &special, &folder.join("start")).unwrap();
        let mut gradients = model.parameters.map(|_| Matrix::empty());
        let noise = Noise {
            seed: 7,
            step: 0,
            first_row: 0,
        };
        let first = trial.batch(1, 0);
        model.backward(&first, noise, &mut gradients).unwrap();
        let gradients = Model::new(model.shape, gradients);
        export(&gradients, &special, &folder.join("gradients")).unwrap();

        trial.train().unwrap();
        let batches = (0..2 * STEPS).map(|number| as_json(&trial.batch(1, number)));
        let lines = trial.metrics();
        let lines = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<serde_json::Value> = lines.collect();
        let run = serde_json::json!({
            "rows": ROWS,
            "config": trial.config,
            "batches": batches.collect::<Vec<_>>(),
            "lines": lines,
        });
        fs::write(folder.join("run.json"), run.to_string()).unwrap();
    }
}

#[test]
fn a_folder_that_is_no_model_of_ours_is_refused_by_name() {
    let trial = Trial::new(config(Architecture::Bert));
    let special = SpecialTokens {
        pad: Some(0),
        ..SpecialTokens::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    export(&trial.model(), &special, folder.path()).unwrap();
    let text = fs::read_to_string(at("config.json")).unwrap();
    let weights = fs::read(at("model.safetensors")).unwrap();
    let refused = || {
        let error = import(folder.path(), &ModelConfig::default(), 0);
        error.unwrap_err().to_string()
    };
    for (from, to, told) in [
        ("\"bert\"", "\"gpt2\"", "model_type \"gpt2\""),
        ("\"gelu\"", "\"gelu_new\"", "hidden_act = \"gelu_new\""),
        (
            "\"intermediate_size\": 48",
            "\"intermediate_size\": 40",
            "as config.json has it",
        ),
        (
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 3",
            "no tensor called bert.encoder.layer.2",
        ),
        (
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 1",
            "a tensor called bert.encoder.layer.1",
        ),
        ("\"vocab_size\"", "\"vocabulary\"", "vocab_size"),
    ] {
        assert!(text.contains(from), "{from}: {text}");
        fs::write(at("config.json"), text.replace(from, to)).unwrap();
        let message = refused();
        assert!(message.contains(told), "{told}: {message}");
        let place = folder.path().display().to_string();
        assert!(message.starts_with(&place), "{message}");
    }
    fs::write(at("config.json"), &text).unwrap();
    fs::write(at("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    assert!(refused().contains("model.safetensors"));
    fs::rename(at("model.safetensors"), at("pytorch_model.bin")).unwrap();
    assert!(refused().contains("safe_serialization"));
    fs::remove_file(at("config.json")).unwrap();
    assert!(refused().contains("config.json"));
}
