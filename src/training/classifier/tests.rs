//! Gradients of classifiers of every architecture against finite differences, and what does
//! not change them.

use super::*;
use crate::parallel::chunks;
use crate::training::tests::{VOCABULARY, single, tiny};

const NOISE: Noise = Noise {
    seed: 3,
    step: 11,
    first_row: 0,
};

/// Pairs and single sentences of several lengths.
fn rows() -> Vec<SentenceRow> {
    let mut generator = Key::default().generator(Purpose::Select);
    let row = |(length, second)| SentenceRow {
        ids: (0..length)
            .map(|_| generator.below(VOCABULARY as u32))
            .collect(),
        second,
    };
    [(9, 5), (4, 4), (1, 1), (7, 2), (12, 12)].map(row).to_vec()
}

/// A classifier of an architecture, BERT's with embeddings of two token types.
fn classifier(architecture: Architecture, outputs: usize) -> Classifier<f64> {
    let mut model = tiny(architecture, 0.1);
    if architecture == Architecture::Bert {
        model.shape.token_types = 2;
        model.parameters.token_types = Some(drawn(2, 12, 0.3, 7, 9));
    }
    let mut classifier = Classifier::new(model, outputs, 5);
    let mut generator = Key::default().generator(Purpose::Initialize);
    for (name, matrix) in classifier.named_mut() {
        if name.starts_with("classifier") && matrix.rows() == 1 {
            for value in matrix.iter_mut() {
                *value += 0.4 * (generator.unit() - 0.5);
            }
        }
    }
    classifier
}

const CLASSES: Targets<'static> = Targets::Classes(&[0, 2, 1, 2, 0]);
const NUMBERS: Targets<'static> = Targets::Numbers(&[0.5, -1.0, 2.0, 0.0, 1.5]);

fn gradients<T: Real>(
    classifier: &Classifier<T>,
    rows: &[SentenceRow],
    targets: Targets<'_>,
) -> (f64, Classifier<T>) {
    let rows: Vec<&SentenceRow> = rows.iter().collect();
    let mut gradients = classifier.map(|_| Matrix::empty());
    let loss = classifier
        .backward(&rows, targets, NOISE, &mut gradients)
        .unwrap();
    (loss, gradients)
}

#[test]
fn gradients_equal_central_finite_differences_and_none_is_zero() {
    let rows = rows();
    for architecture in Architecture::ALL {
        for (outputs, targets) in [(3, CLASSES), (1, NUMBERS)] {
            let classifier = classifier(architecture, outputs);
            let (_, exact) = gradients(&classifier, &rows, targets);
            for (which, (name, gradient)) in exact.named().into_iter().enumerate() {
                let kind = format!("{architecture:?} {name}");
                let largest = gradient.iter().fold(0f64, |most, x| most.max(x.abs()));
                assert!(largest > 1e-6, "{kind}: {largest}");
                let step = 1e-5;
                for index in (0..gradient.len()).step_by(gradient.len() / 5 + 1) {
                    let loss = |by: f64| {
                        let mut moved = classifier.clone();
                        moved.named_mut()[which].1[index] += by;
                        gradients(&moved, &rows, targets).0
                    };
                    let slope = (loss(step) - loss(-step)) / (2.0 * step);
                    let error = (slope - gradient[index]).abs();
                    assert!(error < 1e-6, "{kind}[{index}]: {slope} {}", gradient[index]);
                }
            }
        }
    }
}

#[test]
fn a_loss_is_the_sum_over_its_rows() {
    let rows = rows();
    let mut classifier = classifier(Architecture::RobertaPrelayernorm, 3);
    classifier.model.shape.dropout = 0.0;
    classifier.model.shape.attention_dropout = 0.0;
    let outputs = classifier
        .outputs(&rows.iter().collect::<Vec<_>>())
        .unwrap();
    let labels = [0, 2, 1, 2, 0];
    let mut expected = 0.0;
    for (row, label) in labels.into_iter().enumerate() {
        let alone = classifier.outputs(&[&rows[row]]).unwrap();
        for (together, alone) in outputs.row(row).iter().zip(alone.iter()) {
            assert!((together - alone).abs() < 1e-12);
        }
        let sum: f64 = alone.iter().map(|x| x.exp()).sum();
        expected += sum.ln() - alone[label];
    }
    let (loss, _) = gradients(&classifier, &rows, CLASSES);
    assert!((loss - expected).abs() < 1e-10, "{loss} {expected}");
}

#[test]
fn the_second_sentence_of_a_pair_is_of_another_type() {
    let pair = rows().remove(0);
    let joined = SentenceRow {
        second: pair.ids.len(),
        ..pair.clone()
    };
    for architecture in Architecture::ALL {
        let classifier = classifier(architecture, 3);
        let [a, b] = [&pair, &joined].map(|row| classifier.outputs(&[row]).unwrap());
        let differs = a[..] != b[..];
        assert_eq!(
            differs,
            architecture == Architecture::Bert,
            "{architecture:?}"
        );
    }
}

#[test]
fn one_thread_and_several_give_the_same_bits_and_single_precision_is_near() {
    let rows = rows();
    for architecture in Architecture::ALL {
        let double = classifier(architecture, 3);
        let mut ours = Classifier::new(single(&double.model), 3, 5);
        for ((_, to), (_, from)) in ours.named_mut().into_iter().zip(double.named()) {
            *to = Matrix::new(
                from.rows(),
                from.cols(),
                from.iter().map(|&x| x as f32).collect(),
            );
        }
        let of =
            |threads| chunks::with_threads(threads, || gradients(&ours, &rows, CLASSES)).unwrap();
        let (loss, one) = of(1);
        let (again, two) = of(2);
        assert_eq!(loss.to_bits(), again.to_bits());
        let (_, exact) = gradients(&double, &rows, CLASSES);
        let all = one.named().into_iter().zip(two.named()).zip(exact.named());
        for (((name, a), (_, b)), (_, exact)) in all {
            assert!(a.iter().zip(b.iter()).all(|(a, b)| a == b), "{name}");
            for (&a, &exact) in a.iter().zip(exact.iter()) {
                assert!((f64::from(a) - exact).abs() < 1e-4, "{name}: {a} {exact}");
            }
        }
    }
}

#[test]
fn rows_that_the_model_has_no_room_for_are_refused() {
    let classifier = classifier(Architecture::Bert, 2);
    for ids in [vec![1; 17], vec![VOCABULARY as u32], Vec::new()] {
        let row = SentenceRow { ids, second: 0 };
        let message = classifier.outputs(&[&row]).unwrap_err().to_string();
        assert!(message.contains("1 to 16 tokens"), "{message}");
    }
}

#[test]
fn a_classifier_comes_back_from_its_file_and_one_of_other_sizes_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let model = single(&tiny(Architecture::Modernbert, 0.0));
    let classifier = Classifier::new(model.clone(), 2, 5);
    classifier.write(&path).unwrap();
    let mut read = Classifier::new(model.clone(), 2, 6);
    read.read(&path).unwrap();
    for ((name, a), (_, b)) in classifier.named().into_iter().zip(read.named()) {
        assert_eq!(a[..], b[..], "{name}");
    }
    let error = Classifier::new(model, 3, 5).read(&path).unwrap_err();
    assert!(error.to_string().contains("classifier.out"), "{error}");
}
