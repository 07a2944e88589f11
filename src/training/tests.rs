//! The model as a whole: its gradients against finite differences and against
//! candle's own, and what does not change them.

use super::matrix::Matrix;
use super::model::{Model, Noise};
use super::oracle;
use super::parameters::Parameters;
use super::real::Real;
use crate::base::generator::{Key, Purpose};
use crate::batches::Batch;
use crate::config::{Architecture, DecoderConfig, Layout, ModelConfig, RotaryShape};
use crate::parallel::chunks;

pub const VOCABULARY: usize = 37;

/// Three layers, with dropout, biases of any value and norms off 1, so that no
/// gradient is zero by chance. Of ModernBERT, the first layer is global and the others
/// see two tokens on each side.
pub fn tiny(architecture: Architecture, dropout: f64) -> Model<f64> {
    tiny_with(architecture, dropout, None)
}

/// The same with a decoder of two layers, as wide as the encoder or narrower.
fn tiny_removed(architecture: Architecture, dropout: f64, width: Option<u32>) -> Model<f64> {
    let decoder = DecoderConfig {
        layers: Some(2),
        hidden: width,
        heads: width.map(|_| 2),
        feed_forward: Some(10),
    };
    tiny_with(architecture, dropout, Some(decoder))
}

fn tiny_with(
    architecture: Architecture,
    dropout: f64,
    decoder: Option<DecoderConfig>,
) -> Model<f64> {
    let modern = architecture == Architecture::Modernbert;
    let config = ModelConfig {
        architecture,
        layers: Some(3),
        hidden: Some(12),
        heads: Some(3),
        feed_forward: Some(20),
        positions: Some(16),
        rotary: RotaryShape {
            local_attention: if modern { 4 } else { 128 },
            ..RotaryShape::default()
        },
        decoder,
        dropout: Some(dropout),
        attention_dropout: Some(dropout),
        initializer_range: 0.3,
        ..ModelConfig::default()
    };
    config.check().unwrap();
    let mut model = Model::initial(&config, VOCABULARY, 5);
    let mut generator = Key::default().generator(Purpose::Initialize);
    for (_, matrix) in model.parameters.named_mut() {
        if matrix.rows() == 1 {
            for value in matrix.iter_mut() {
                *value += 0.4 * (generator.unit() - 0.5);
            }
        }
    }
    model
}

/// Four rows of 9 tokens, two of them padded, one without labels.
pub fn batch() -> Batch {
    let (rows, length) = (4, 9);
    let lengths = vec![9, 6, 9, 1];
    let mut generator = Key::default().generator(Purpose::Select);
    let mut batch = Batch {
        rows,
        length,
        lengths,
        ..Batch::default()
    };
    runs_of_rows(&mut batch);
    for row in 0..rows {
        for place in 0..length {
            let inside = place < batch.lengths[row] as usize;
            let id = 1 + generator.below(VOCABULARY as u32 - 1);
            batch.input.push(if inside { id } else { 0 });
            if inside && row < 3 && generator.below(3) == 0 {
                batch.predicted.push((row * length + place) as u32);
                batch.labels.push(generator.below(VOCABULARY as u32));
            }
        }
    }
    assert!(batch.labels.len() > 5);
    batch
}

/// Every row one attention run.
fn runs_of_rows(batch: &mut Batch) {
    batch.cu_seqlens = vec![0];
    let ends = batch.lengths.iter().scan(0, |end, &length| {
        *end += length;
        Some(*end)
    });
    batch.cu_seqlens.extend(ends);
    if batch.layout == Layout::Removed {
        batch.run_starts = vec![0; batch.rows];
    }
}

/// `whole` without most tokens that carry a label and without a few that carry none.
fn removed(whole: &Batch) -> Batch {
    let mut batch = Batch {
        layout: Layout::Removed,
        rows: whole.rows,
        row_length: whole.length,
        predicted: whole.predicted.clone(),
        labels: whole.labels.clone(),
        weights: whole.weights.clone(),
        realised: whole.realised,
        ..Batch::default()
    };
    let mut ends = whole.cu_seqlens[1..].iter().copied().peekable();
    let mut before = 0;
    for (row, &length) in whole.lengths.iter().enumerate() {
        let at = |place: u32| (row * whole.length) as u32 + place;
        let is_gone = |place: u32| match whole.predicted.contains(&at(place)) {
            true => !at(place).is_multiple_of(4),
            false => at(place) % 7 == 3,
        };
        let from = batch.places.len();
        let kept = (0..length).filter(|&place| !is_gone(place));
        batch.places.extend(kept.clone());
        let ids = kept.map(|place| whole.input[at(place) as usize]);
        batch.input.extend(ids);
        batch.lengths.push((batch.places.len() - from) as u32);
        let of_row = std::iter::from_fn(|| ends.next_if(|&end| end <= before + length));
        let of_row: Vec<u32> = of_row.map(|end| end - before).collect();
        batch.push_runs(&of_row, from);
        before += length;
    }
    pad(&mut batch);
    batch
}

/// Makes the rows of a batch of the layout removed equally long.
fn pad(batch: &mut Batch) {
    batch.length = batch.lengths.iter().copied().max().unwrap_or(0) as usize;
    for values in [&mut batch.input, &mut batch.places] {
        let mut rest = std::mem::take(values).into_iter();
        for (row, &length) in (1..).zip(&batch.lengths) {
            values.extend(rest.by_ref().take(length as usize));
            values.resize(row * batch.length, 0);
        }
    }
}

/// Two rows of `best_fit`, the first of three documents and the second of two, and the
/// five documents as rows of their own.
fn documents_shared_and_apart() -> (Batch, Batch) {
    let documents: [&[usize]; 2] = [&[5, 3, 6], &[2, 9]];
    let (length, alone) = (15, 9);
    let mut shared = Batch {
        rows: 2,
        length,
        ..Batch::default()
    };
    let mut apart = Batch {
        rows: 5,
        length: alone,
        ..Batch::default()
    };
    let mut generator = Key::default().generator(Purpose::Resolve);
    for row in documents {
        let mut ends = Vec::new();
        for &tokens in row {
            for place in 0..tokens {
                let id = 1 + generator.below(VOCABULARY as u32 - 1);
                if place > 0 && generator.below(2) == 0 {
                    let label = generator.below(VOCABULARY as u32);
                    for batch in [&mut shared, &mut apart] {
                        batch.predicted.push(batch.input.len() as u32);
                        batch.labels.push(label);
                    }
                }
                shared.input.push(id);
                apart.input.push(id);
            }
            apart
                .input
                .resize(apart.input.len().next_multiple_of(alone), 0);
            apart.lengths.push(tokens as u32);
            ends.push((shared.input.len() - (shared.lengths.len() * length)) as u32);
        }
        shared.lengths.push(row.iter().sum::<usize>() as u32);
        shared.push_runs(&ends, 0);
        shared.input.resize(shared.lengths.len() * length, 0);
    }
    runs_of_rows(&mut apart);
    (shared, apart)
}

/// A model, the name of its kind, and a batch that it takes.
struct Case {
    kind: String,
    model: Model<f64>,
    batch: Batch,
}

/// Every architecture on `whole`, by itself and, on `whole` with tokens removed, with a
/// decoder of its width and with a narrower one.
fn cases(whole: &Batch, dropout: f64) -> Vec<Case> {
    let mut cases = Vec::new();
    for architecture in Architecture::ALL {
        let kind = |what: &str| format!("{architecture:?}{what}, dropout {dropout}");
        cases.push(Case {
            kind: kind(""),
            model: tiny(architecture, dropout),
            batch: whole.clone(),
        });
        for width in [None, Some(8)] {
            cases.push(Case {
                kind: kind(&format!(" with a decoder of width {width:?}")),
                model: tiny_removed(architecture, dropout, width),
                batch: removed(whole),
            });
        }
    }
    cases
}

const NOISE: Noise = Noise {
    seed: 3,
    step: 11,
    first_row: 2,
};

pub fn gradients<T: Real>(model: &Model<T>, batch: &Batch) -> (f64, Parameters<T>) {
    let mut gradients = model.parameters.map(|_| Matrix::empty());
    let tally = model.backward(batch, NOISE, &mut gradients).unwrap();
    (tally.loss, gradients)
}

/// Row by row, and with documents that share rows.
#[test]
fn losses_and_gradients_equal_those_of_composite_operations() {
    for whole in [batch(), documents_shared_and_apart().0] {
        for dropout in [0.0, 0.2] {
            for Case { kind, model, batch } in cases(&whole, dropout) {
                let (loss, fast) = gradients(&model, &batch);
                let (exact, slow) = oracle::loss_and_gradients(&model, &batch, NOISE).unwrap();
                assert!((loss - exact).abs() < 1e-10, "{kind}: {loss} {exact}");
                for (name, gradient) in fast.named() {
                    assert_eq!(gradient.len(), slow[&name].len(), "{kind} {name}");
                    for (index, (ours, theirs)) in gradient.iter().zip(&slow[&name]).enumerate() {
                        assert!(
                            (ours - theirs).abs() < 1e-9,
                            "{kind} {name}[{index}]: {ours} {theirs}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn documents_that_share_a_row_train_like_rows_of_their_own() {
    let (shared, apart) = documents_shared_and_apart();
    assert_eq!(shared.cu_seqlens, [0, 5, 8, 14, 16, 25]);
    assert_eq!(shared.cu_seqlens, apart.cu_seqlens);
    // What is removed goes by places in the batch, so batches with and without padding
    // lose other tokens: here those of the shared rows.
    let lost = removed(&shared);
    let alone = rows_of_runs(&lost);
    for Case { kind, model, batch } in cases(&shared, 0.0) {
        let (batch, apart) = match batch.layout {
            Layout::InPlace => (batch, &apart),
            _ => (batch, &alone),
        };
        let (loss, together) = gradients(&model, &batch);
        let (alone, rows) = gradients(&model, apart);
        assert!((loss - alone).abs() < 1e-12, "{kind}: {loss} {alone}");
        for ((name, a), (_, b)) in together.named().into_iter().zip(rows.named()) {
            for (a, b) in a.iter().zip(b.iter()) {
                assert!((a - b).abs() < 1e-12, "{kind} {name}: {a} {b}");
            }
        }
        // One run a row instead is another loss: the runs are what keeps them apart.
        let mut joined = batch.clone();
        runs_of_rows(&mut joined);
        assert!((gradients(&model, &joined).0 - loss).abs() > 1e-3, "{kind}");
    }
}

/// The attention runs of a batch of the layout removed as rows of their own.
fn rows_of_runs(batch: &Batch) -> Batch {
    let mut apart = Batch {
        rows: batch.run_starts.len(),
        row_length: batch.row_length,
        layout: Layout::Removed,
        labels: batch.labels.clone(),
        ..Batch::default()
    };
    let mut starts = batch.run_starts.iter().copied().peekable();
    let mut predicted = batch.predicted.iter().copied().peekable();
    for (row, &row_length) in batch.row_lengths.iter().enumerate() {
        let in_row = row * batch.length..row * batch.length + batch.lengths[row] as usize;
        let before = (row * batch.row_length) as u32;
        loop {
            let start = starts.next().unwrap();
            let end = starts.peek().filter(|&&next| next > 0).copied();
            let run = start..end.unwrap_or(row_length);
            let from = apart.places.len();
            for index in in_row.clone() {
                if run.contains(&batch.places[index]) {
                    apart.places.push(batch.places[index] - start);
                    apart.input.push(batch.input[index]);
                }
            }
            let here = (apart.lengths.len() * batch.row_length) as u32;
            while let Some(at) = predicted.next_if(|&at| at < before + run.end) {
                apart.predicted.push(here + at - before - start);
            }
            apart.lengths.push((apart.places.len() - from) as u32);
            apart.push_runs(&[run.end - run.start], from);
            if end.is_none() {
                break;
            }
        }
    }
    pad(&mut apart);
    apart
}

#[test]
fn a_change_in_one_document_leaves_the_logits_of_the_others_as_they_were() {
    let (before, _) = documents_shared_and_apart();
    let model = tiny(Architecture::RobertaPrelayernorm, 0.0);
    let old = model.logits(&before).unwrap();
    // Tokens 5 to 7 of row 0 are its second document.
    let mut after = before.clone();
    for id in &mut after.input[5..8] {
        *id = *id % 30 + 1;
    }
    let new = model.logits(&after).unwrap();
    let mut moved = 0;
    for (label, &position) in before.predicted.iter().enumerate() {
        let changed = old.row(label) != new.row(label);
        assert_eq!(changed, (5..8).contains(&position), "position {position}");
        moved += usize::from(changed);
    }
    assert!((1..before.labels.len()).contains(&moved));
}

#[test]
fn gradients_equal_central_finite_differences() {
    for Case { kind, model, batch } in cases(&batch(), 0.1) {
        let (_, exact) = gradients(&model, &batch);
        for (which, (name, gradient)) in exact.named().into_iter().enumerate() {
            let step = 1e-5;
            for index in (0..gradient.len()).step_by(gradient.len() / 7 + 1) {
                let loss = |by: f64| {
                    let mut moved = model.clone();
                    moved.parameters.named_mut()[which].1[index] += by;
                    gradients(&moved, &batch).0
                };
                let slope = (loss(step) - loss(-step)) / (2.0 * step);
                assert!(
                    (slope - gradient[index]).abs() < 1e-6,
                    "{kind} {name}[{index}]: {slope} {}",
                    gradient[index]
                );
            }
        }
    }
}

/// The bias of the keys shifts all scores of a query alike, so its gradient is zero
/// but for rounding; queries and values are looked at apart from it.
#[test]
fn every_parameter_gets_a_finite_gradient_that_is_not_zero() {
    for Case { kind, model, batch } in cases(&batch(), 0.1) {
        let (_, gradients) = gradients(&single(&model), &batch);
        for (name, gradient) in gradients.named() {
            let parts = if name.ends_with("qkv.bias") { 3 } else { 1 };
            for (part, values) in gradient.chunks(gradient.len() / parts).enumerate() {
                assert!(values.iter().all(|x| x.is_finite()), "{kind} {name}");
                let largest = values.iter().fold(0f32, |a, x| a.max(x.abs()));
                assert!(largest > 1e-4 || (parts, part) == (3, 1), "{kind} {name}");
            }
        }
    }
}

pub fn single(model: &Model<f64>) -> Model<f32> {
    let parameters = Parameters::<f32>::initial(&model.shape, VOCABULARY, 5);
    let mut out = Model::new(model.shape.clone(), parameters);
    let from = model.parameters.named();
    for ((_, to), (_, from)) in out.parameters.named_mut().into_iter().zip(from) {
        for (to, from) in to.iter_mut().zip(from.iter()) {
            *to = *from as f32;
        }
    }
    out
}

#[test]
fn single_precision_agrees_with_double() {
    for Case { kind, model, batch } in cases(&batch(), 0.1) {
        let (exact, double) = gradients(&model, &batch);
        let (loss, ours) = gradients(&single(&model), &batch);
        assert!((loss - exact).abs() < 1e-4, "{kind}: {loss} {exact}");
        for ((name, ours), (_, double)) in ours.named().into_iter().zip(double.named()) {
            for (&a, &b) in ours.iter().zip(double.iter()) {
                let near = 1e-4 * b.abs().max(1.0);
                assert!((f64::from(a) - b).abs() < near, "{kind} {name}: {a} {b}");
            }
        }
    }
}

/// A row of which nothing was kept, one of which nothing was removed, one of no tokens.
#[test]
fn rows_without_kept_tokens_and_rows_without_removed_ones_have_their_gradients() {
    let mut batch = Batch {
        layout: Layout::Removed,
        rows: 3,
        row_length: 5,
        predicted: vec![0, 2, 6],
        labels: vec![4, 5, 6],
        ..Batch::default()
    };
    for (kept, length) in [(0, 4), (5, 5), (0, 0)] {
        let from = batch.places.len();
        batch.places.extend(0..kept);
        batch.input.extend((0..kept).map(|place| 7 + place));
        batch.lengths.push(kept);
        batch.push_runs(&[length], from);
    }
    pad(&mut batch);
    let nothing_kept = Batch {
        rows: 1,
        length: 0,
        input: Vec::new(),
        lengths: vec![0],
        places: Vec::new(),
        cu_seqlens: vec![0, 0],
        run_starts: vec![0],
        row_lengths: vec![4],
        predicted: vec![0, 2],
        labels: vec![4, 5],
        ..batch.clone()
    };
    for architecture in Architecture::ALL {
        let model = tiny_removed(architecture, 0.1, Some(8));
        let (loss, fast) = gradients(&model, &batch);
        let (exact, slow) = oracle::loss_and_gradients(&model, &batch, NOISE).unwrap();
        assert!(
            (loss - exact).abs() < 1e-10,
            "{architecture:?}: {loss} {exact}"
        );
        for (name, gradient) in fast.named() {
            for (ours, theirs) in gradient.iter().zip(&slow[&name]) {
                assert!((ours - theirs).abs() < 1e-9, "{architecture:?} {name}");
            }
        }
        let (loss, gradients) = gradients(&model, &nothing_kept);
        assert!(loss.is_finite());
        for (name, gradient) in gradients.named() {
            assert!(gradient.iter().all(|x| x.is_finite()), "{name}");
            let of_encoder = name.starts_with("layers.") || name == "positions";
            assert!(!of_encoder || gradient.iter().all(|&x| x == 0.0), "{name}");
        }
    }
}

#[test]
fn a_model_refuses_rows_of_the_layout_that_it_is_not_for() {
    let whole = batch();
    let encoder = tiny(Architecture::Bert, 0.0);
    let refused = encoder.evaluate(&removed(&whole)).unwrap_err().to_string();
    assert!(
        refused.contains("Removed") && refused.contains("decoder"),
        "{refused}"
    );
    let both = tiny_removed(Architecture::Bert, 0.0, None);
    assert!(both.evaluate(&whole).is_err());
    // Places that are not those of the runs.
    let good = removed(&whole);
    assert!(both.evaluate(&good).is_ok());
    let broken: [fn(&mut Batch); 7] = [
        |batch| batch.places.swap(0, 1),
        |batch| batch.places[1] = 9,
        |batch| batch.places.truncate(3),
        |batch| batch.run_starts[1] = 1,
        |batch| batch.row_lengths[0] = 17,
        |batch| _ = batch.row_lengths.pop(),
        |batch| batch.cu_seqlens[1] -= 1,
    ];
    for (which, break_it) in broken.iter().enumerate() {
        let mut batch = good.clone();
        break_it(&mut batch);
        assert!(both.evaluate(&batch).is_err(), "{which}");
    }
}

#[test]
fn one_thread_and_several_give_the_same_bits() {
    // Large enough for gemm to share its work out.
    let config = ModelConfig {
        layers: Some(2),
        hidden: Some(96),
        heads: Some(3),
        feed_forward: Some(200),
        positions: Some(130),
        ..ModelConfig::default()
    };
    let model = Model::<f32>::initial(&config, 1500, 1);
    let (rows, length) = (6, 130);
    let mut generator = Key::default().generator(Purpose::Select);
    let predicted: Vec<u32> = (0..(rows * length) as u32).step_by(3).collect();
    let batch = Batch {
        rows,
        length,
        input: (0..rows * length).map(|_| generator.below(1500)).collect(),
        lengths: vec![length as u32; rows],
        labels: predicted.iter().map(|_| generator.below(1500)).collect(),
        cu_seqlens: (0..=rows as u32).map(|row| row * length as u32).collect(),
        predicted,
        ..Batch::default()
    };
    let of = |threads| chunks::with_threads(threads, || gradients(&model, &batch)).unwrap();
    let (loss, one) = of(1);
    for threads in [2, 5] {
        let (again, other) = of(threads);
        assert_eq!(loss.to_bits(), again.to_bits());
        for ((name, a), (_, b)) in one.named().into_iter().zip(other.named()) {
            assert!(a.iter().zip(b.iter()).all(|(a, b)| a == b), "{name}");
        }
    }
}

#[test]
fn a_step_in_parts_has_the_gradient_of_the_whole() {
    let (model, whole) = (tiny(Architecture::RobertaPrelayernorm, 0.2), batch());
    let (loss, gradients) = gradients(&model, &whole);
    let mut sum = model.parameters.map(|_| Matrix::empty());
    let mut losses = 0.0;
    for part in 0..2 {
        let tokens = part * 18..part * 18 + 18;
        let inside = |p: &u32| tokens.contains(&(*p as usize));
        let labels = whole.predicted.iter().zip(&whole.labels);
        let mut half = Batch {
            rows: 2,
            length: 9,
            input: whole.input[tokens.clone()].to_vec(),
            lengths: whole.lengths[2 * part..2 * part + 2].to_vec(),
            predicted: whole
                .predicted
                .iter()
                .filter(|p| inside(p))
                .map(|p| p - 18 * part as u32)
                .collect(),
            labels: labels.filter(|(p, _)| inside(p)).map(|(_, &l)| l).collect(),
            ..Batch::default()
        };
        runs_of_rows(&mut half);
        let noise = Noise {
            first_row: NOISE.first_row + 2 * part as u64,
            ..NOISE
        };
        losses += model.backward(&half, noise, &mut sum).unwrap().loss;
    }
    assert!((loss - losses).abs() < 1e-10);
    for ((name, a), (_, b)) in gradients.named().into_iter().zip(sum.named()) {
        for (a, b) in a.iter().zip(b.iter()) {
            assert!((a - b).abs() < 1e-10, "{name}: {a} {b}");
        }
    }
}

#[test]
fn evaluation_is_the_loss_of_the_logits_and_a_batch_without_labels_is_no_nan() {
    let (model, mut batch) = (tiny(Architecture::RobertaPrelayernorm, 0.0), batch());
    let tally = model.evaluate(&batch).unwrap();
    let logits = model.logits(&batch).unwrap();
    let predictions = model.predictions(&batch).unwrap();
    assert_eq!(predictions.len(), batch.labels.len());
    let (mut loss, mut correct) = (0.0, 0);
    for ((row, &label), prediction) in batch.labels.iter().enumerate().zip(&predictions) {
        let row = logits.row(row);
        let sum: f64 = row.iter().map(|x| x.exp()).sum();
        let of_label = sum.ln() - row[label as usize];
        let first = row.iter().all(|&x| x <= row[label as usize]);
        let most = row.iter().map(|x| x.exp()).fold(0.0, f64::max) / sum;
        assert!((prediction.loss - of_label).abs() < 1e-10);
        assert_eq!(prediction.correct, first);
        assert!((f64::from(prediction.confidence) - most).abs() < 1e-6);
        loss += of_label;
        correct += u64::from(first);
    }
    assert!((tally.loss - loss).abs() < 1e-10);
    assert_eq!(
        (tally.correct, tally.labels),
        (correct, batch.labels.len() as u64)
    );
    assert!((gradients(&model, &batch).0 - loss).abs() < 1e-10);

    batch.labels.clear();
    batch.predicted.clear();
    let tally = model.evaluate(&batch).unwrap();
    assert_eq!(
        (tally.loss, tally.mean(), tally.accuracy()),
        (0.0, 0.0, 0.0)
    );
    assert_eq!(gradients(&model, &batch).0, 0.0);
}

#[test]
fn labels_weigh_what_their_row_says_in_loss_and_gradients() {
    let (model, mut batch) = (tiny(Architecture::RobertaPrelayernorm, 0.0), batch());
    let weights: Vec<f32> = (0..batch.rows).map(|row| 0.5 + row as f32).collect();
    let (mut expected, mut loss) = (model.parameters.map(|_| Matrix::empty()), 0.0);
    for (row, &weight) in weights.iter().enumerate() {
        let mut one = batch.clone();
        let of_row = |p: &u32| *p as usize / batch.length == row;
        let kept = batch.predicted.iter().zip(&batch.labels);
        (one.predicted, one.labels) = kept.filter(|(p, _)| of_row(p)).unzip();
        let (part, gradient) = gradients(&model, &one);
        loss += f64::from(weight) * part;
        for ((_, sum), (_, part)) in expected.named_mut().into_iter().zip(gradient.named()) {
            if sum.is_empty() {
                *sum = Matrix::new(part.rows(), part.cols(), vec![0.0; part.len()]);
            }
            for (sum, part) in sum.iter_mut().zip(part.iter()) {
                *sum += f64::from(weight) * part;
            }
        }
    }
    batch.weights = weights;
    batch.realised.maskable = 1000;
    let (found, gradient) = gradients(&model, &batch);
    assert!((found - loss).abs() < 1e-9, "{found} {loss}");
    for ((name, a), (_, b)) in gradient.named().into_iter().zip(expected.named()) {
        for (a, b) in a.iter().zip(b.iter()) {
            assert!((a - b).abs() < 1e-9, "{name}: {a} {b}");
        }
    }
    let tally = model.evaluate(&batch).unwrap();
    assert!(
        (tally.mean() - loss / 1000.0).abs() < 1e-9,
        "a loss for each maskable token"
    );
    batch.weights.pop();
    assert!(model.evaluate(&batch).is_err());
}
