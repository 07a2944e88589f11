//! The model as a whole: its gradients against finite differences and against
//! candle's own, and what does not change them.

use super::matrix::Matrix;
use super::model::{Model, Noise};
use super::oracle;
use super::parameters::Parameters;
use super::real::Real;
use crate::base::generator::{Key, Purpose};
use crate::batches::Batch;
use crate::config::{Architecture, ModelConfig, RotaryShape};
use crate::parallel::chunks;

pub const VOCABULARY: usize = 37;

/// Three layers, with dropout, biases of any value and norms off 1, so that no
/// gradient is zero by chance. Of ModernBERT, the first layer is global and the others
/// see two tokens on each side.
pub fn tiny(architecture: Architecture, dropout: f64) -> Model<f64> {
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
    batch.cu_seqlens.clear();
    for length in batch.lengths.clone() {
        batch.push_runs(&[length], 0);
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

fn with_and_without_dropout() -> impl Iterator<Item = (Architecture, f64)> {
    let all = Architecture::ALL.into_iter();
    all.flat_map(|architecture| [0.0, 0.2].map(|dropout| (architecture, dropout)))
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

#[test]
fn losses_and_gradients_equal_those_of_composite_operations() {
    for (architecture, dropout) in with_and_without_dropout() {
        let (model, batch) = (tiny(architecture, dropout), batch());
        let (loss, fast) = gradients(&model, &batch);
        let (exact, slow) = oracle::loss_and_gradients(&model, &batch, NOISE).unwrap();
        assert!(
            (loss - exact).abs() < 1e-10,
            "{architecture:?}: {loss} {exact}"
        );
        for (name, gradient) in fast.named() {
            for (index, (ours, theirs)) in gradient.iter().zip(&slow[&name]).enumerate() {
                assert!(
                    (ours - theirs).abs() < 1e-9,
                    "{architecture:?} {name}[{index}]: {ours} {theirs}"
                );
            }
        }
    }
}

#[test]
fn documents_that_share_a_row_train_like_rows_of_their_own() {
    let (shared, apart) = documents_shared_and_apart();
    assert_eq!(shared.cu_seqlens, [0, 5, 8, 14, 16, 25]);
    assert_eq!(shared.cu_seqlens, apart.cu_seqlens);
    for architecture in Architecture::ALL {
        let model = tiny(architecture, 0.0);
        let (loss, together) = gradients(&model, &shared);
        let (alone, rows) = gradients(&model, &apart);
        assert!(
            (loss - alone).abs() < 1e-12,
            "{architecture:?}: {loss} {alone}"
        );
        for ((name, a), (_, b)) in together.named().into_iter().zip(rows.named()) {
            for (a, b) in a.iter().zip(b.iter()) {
                assert!((a - b).abs() < 1e-12, "{architecture:?} {name}: {a} {b}");
            }
        }
        // One run a row instead is another loss: the runs are what keeps them apart.
        let mut joined = shared.clone();
        runs_of_rows(&mut joined);
        assert!((gradients(&model, &joined).0 - loss).abs() > 1e-3);
    }
}

#[test]
fn documents_that_share_a_row_have_the_gradients_of_composite_operations() {
    let (shared, _) = documents_shared_and_apart();
    for (architecture, dropout) in with_and_without_dropout() {
        let model = tiny(architecture, dropout);
        let (loss, fast) = gradients(&model, &shared);
        let (exact, slow) = oracle::loss_and_gradients(&model, &shared, NOISE).unwrap();
        assert!(
            (loss - exact).abs() < 1e-10,
            "{architecture:?}: {loss} {exact}"
        );
        for (name, gradient) in fast.named() {
            for (ours, theirs) in gradient.iter().zip(&slow[&name]) {
                assert!((ours - theirs).abs() < 1e-9, "{architecture:?} {name}");
            }
        }
    }
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
    for architecture in Architecture::ALL {
        let (model, batch) = (tiny(architecture, 0.1), batch());
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
                    "{architecture:?} {name}[{index}]: {slope} {}",
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
    for architecture in Architecture::ALL {
        let exact = tiny(architecture, 0.1);
        let model = single(&exact);
        let (_, gradients) = gradients(&model, &batch());
        for (name, gradient) in gradients.named() {
            let parts = if name.ends_with("qkv.bias") { 3 } else { 1 };
            for (part, values) in gradient.chunks(gradient.len() / parts).enumerate() {
                assert!(
                    values.iter().all(|x| x.is_finite()),
                    "{architecture:?} {name}"
                );
                let largest = values.iter().fold(0f32, |a, x| a.max(x.abs()));
                assert!(
                    largest > 1e-4 || (parts, part) == (3, 1),
                    "{architecture:?} {name}"
                );
            }
        }
    }
}

fn single(model: &Model<f64>) -> Model<f32> {
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
    for architecture in Architecture::ALL {
        let (model, batch) = (tiny(architecture, 0.1), batch());
        let (exact, double) = gradients(&model, &batch);
        let (loss, ours) = gradients(&single(&model), &batch);
        assert!((loss - exact).abs() < 1e-4, "{loss} {exact}");
        for ((name, ours), (_, double)) in ours.named().into_iter().zip(double.named()) {
            for (&a, &b) in ours.iter().zip(double.iter()) {
                assert!(
                    (f64::from(a) - b).abs() < 1e-4,
                    "{architecture:?} {name}: {a} {b}"
                );
            }
        }
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
    let (mut loss, mut correct) = (0.0, 0);
    for (row, &label) in batch.labels.iter().enumerate() {
        let row = logits.row(row);
        let sum: f64 = row.iter().map(|x| x.exp()).sum();
        loss += sum.ln() - row[label as usize];
        correct += u64::from(row.iter().all(|&x| x <= row[label as usize]));
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
