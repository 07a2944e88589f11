//! Tokens per second of a full training step (forward, backward, AdamW) of the mini
//! model on all cores: 32 rows of 128 tokens, 20 labels a row, dropout 0.1.
//! `cargo bench --bench training`. The loss has to fall.

use cloze::base::generator::{Key, Purpose};
use cloze::batches::Batch;
use cloze::config::ModelConfig;
use cloze::config::train::OptimizerConfig;
use cloze::parallel::{chunks, threads};
use cloze::training::matrix::Matrix;
use cloze::training::optimizer::AdamW;
use cloze::training::{Model, Noise};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const ROWS: usize = 32;
const LENGTH: usize = 128;
const LABELS: usize = 20;

/// Rows in which token t follows token t − 1, some of it masked.
fn batch(vocabulary: u32) -> Batch {
    let mut generator = Key::default().generator(Purpose::Select);
    let mut batch = Batch {
        rows: ROWS,
        length: LENGTH,
        lengths: vec![LENGTH as u32; ROWS],
        cu_seqlens: (0..=ROWS).map(|row| (row * LENGTH) as u32).collect(),
        ..Batch::default()
    };
    for row in 0..ROWS {
        let first = generator.below(vocabulary);
        let mut places: Vec<usize> = (0..LENGTH).collect();
        generator.shuffle_prefix(&mut places, LABELS);
        places.truncate(LABELS);
        places.sort_unstable();
        let ids = (0..LENGTH as u32).map(|place| (first + place) % vocabulary);
        let start = batch.input.len();
        batch.input.extend(ids);
        for place in places {
            batch.predicted.push((row * LENGTH + place) as u32);
            batch
                .labels
                .push(std::mem::take(&mut batch.input[start + place]));
        }
    }
    batch
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("training step, mini");
    group.throughput(Throughput::Elements((ROWS * LENGTH) as u64));
    group.sample_size(10);
    for vocabulary in [16_384, 30_522] {
        let batch = batch(vocabulary);
        let config = OptimizerConfig::default();
        let mut model = Model::<f32>::initial(&ModelConfig::default(), vocabulary as usize, 1);
        let mut adam = AdamW::new(&model.parameters);
        let mut gradients = model.parameters.map(|_| Matrix::empty());
        let mut losses = Vec::new();
        let mut step = 0;
        let mut one = || {
            let noise = Noise {
                seed: 1,
                step,
                first_row: 0,
            };
            let tally = model.backward(&batch, noise, &mut gradients).unwrap();
            let scale = 1.0 / tally.labels as f64;
            adam.update(
                &config,
                &mut model.parameters,
                &gradients,
                scale,
                step,
                1e-3,
            );
            for (_, gradient) in gradients.named_mut() {
                *gradient = Matrix::empty();
            }
            step += 1;
            losses.push(tally.mean());
        };
        group.bench_function(format!("vocabulary {vocabulary}"), |bencher| {
            chunks::with_threads(threads(0), || bencher.iter(&mut one)).unwrap();
        });
        assert!(losses.iter().all(|loss| loss.is_finite()));
        assert!(losses[losses.len() - 1] < 0.8 * losses[0], "{losses:?}");
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
