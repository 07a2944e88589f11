//! How names, rates and shares are written, in text and page alike.

use super::request::spelled;
use super::{ShownCopy, ShownMask, ShownTotal, ShownWay};
use crate::config::{Layout, Rate, Strategy};
use crate::masking::Realised;

/// What stands above a way's column: its preset, or what it selects; and its layout
/// where that is not the row's own.
pub fn title(way: &ShownWay) -> String {
    let masking = &way.masking;
    let of_preset = masking
        .preset
        .is_some_and(|preset| spelled(&preset) == way.name);
    let strategy = Strategy::ALL
        .into_iter()
        .find(|one| spelled(one) == way.name);
    let name = match strategy {
        Some(strategy) if !of_preset => name(strategy).to_owned(),
        _ => way.name.clone(),
    };
    match masking.layout {
        Layout::InPlace => name,
        Layout::Removed => format!("{name}, removed"),
        Layout::Sentinel => format!("{name}, sentinels"),
    }
}

/// A strategy as readers call it.
pub fn name(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Uniform => "uniform",
        Strategy::Word => "whole words",
        Strategy::Pmi => "PMI units",
        Strategy::Span => "spans",
        Strategy::Geometric => "geometric spans",
        Strategy::Ngram => "n-gram spans",
    }
}

/// `40 %`, or `20/40 %` where m_pred is not m_corr.
pub fn rates(corruption: f64, prediction: f64) -> String {
    let number = |rate: f64| {
        let text = format!("{:.1}", 100.0 * rate);
        text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
    };
    if corruption == prediction {
        return format!("{} %", number(corruption));
    }
    format!("{}/{} %", number(corruption), number(prediction))
}

/// What stands before a block of masks: the pair of rates, or at least the m_corr, that
/// is that of all.
pub fn label(block: &[ShownMask]) -> Option<String> {
    let (first, rest) = block.split_first()?;
    let corruption = first.corruption_rate;
    if rest.iter().any(|mask| mask.corruption_rate != corruption) {
        return None;
    }
    let same = |mask: &ShownMask| mask.prediction_rate == first.prediction_rate;
    Some(if rest.iter().all(same) {
        rates(corruption, first.prediction_rate)
    } else {
        rates(corruption, corruption)
    })
}

/// What a row drew that the `label` of its block does not say.
pub fn head(mask: &ShownMask, label: Option<&str>) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(component) = mask.component {
        let number = component + 1;
        parts.push(format!("component {number}: {}", name(mask.strategy)));
    }
    let rate = rates(mask.corruption_rate, mask.prediction_rate);
    if label != Some(&rate) {
        parts.push(rate);
    }
    let mut laws: Vec<String> = Vec::new();
    for law in [&mask.corruption_law, &mask.prediction_law] {
        let law = law.to_string();
        if law.contains('(') && !laws.contains(&law) {
            laws.push(law);
        }
    }
    if !laws.is_empty() {
        parts.push(format!("of {}", laws.join(" and ")));
    }
    if mask.weight != 1.0 {
        parts.push(format!("loss weight {:.3}", mask.weight));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// `1 row`, `2 rows`.
pub fn rows(count: usize) -> String {
    format!("{count} row{}", if count == 1 { "" } else { "s" })
}

/// `count` of `all` in percent.
pub fn percent(count: u64, all: u64) -> String {
    format!("{:.1} %", 100.0 * count as f64 / all.max(1) as f64)
}

/// What one copy realised.
pub fn shares(mask: &ShownMask, copy: &ShownCopy) -> String {
    let mut text = fates(&copy.realised, copy.realised.maskable, mask.layout);
    text += &format!(
        ", predicted {}",
        percent(copy.realised.predicted, copy.realised.maskable)
    );
    match (&copy.target, mask.layout) {
        (_, Layout::InPlace) => {}
        (None, _) => text += &format!("; input {} tokens", copy.input.len()),
        (Some(target), _) => {
            text += &format!(
                "; input {}, target {} tokens",
                copy.input.len(),
                target.len()
            );
        }
    }
    text
}

/// What all copies of a row realised together.
pub fn together(mask: &ShownMask) -> String {
    let all: u64 = mask.copies.iter().map(|copy| copy.realised.predicted).sum();
    let maskable = mask.copies[0].realised.maskable;
    format!("together predicted {}", percent(all, maskable))
}

/// What was asked of a way, and what it realised over all rows.
pub fn total(total: &ShownTotal, layout: Layout) -> (String, String) {
    let rate = rates(total.corruption_rate, total.prediction_rate);
    let moving = |law: &Option<Rate>| law.as_ref().is_none_or(|law| law.is_drawn());
    let asked = if moving(&total.corruption_law) || moving(&total.prediction_law) {
        format!("mean {rate}")
    } else {
        rate
    };
    let mut text = fates(&total.realised, total.realised.maskable, layout);
    let predicted = percent(total.realised.predicted, total.maskable);
    text += &format!(", predicted {predicted}");
    if total.realised.maskable > total.maskable {
        text += &format!(" in {} copies", total.copies);
    }
    (asked, text)
}

/// What a batch realised.
pub fn realised(realised: &Realised) -> String {
    let mut text = fates(realised, realised.maskable, Layout::InPlace);
    text += &format!(
        ", predicted {}",
        percent(realised.predicted, realised.maskable)
    );
    text
}

fn fates(realised: &Realised, maskable: u64, layout: Layout) -> String {
    let masked = match layout {
        Layout::InPlace => "masked",
        Layout::Removed => "removed",
        Layout::Sentinel => "behind sentinels",
    };
    let mut text = format!("{masked} {}", percent(realised.masked, maskable));
    for (name, count) in [("random", realised.random), ("same", realised.same)] {
        if count > 0 {
            text += &format!(", {name} {}", percent(count, maskable));
        }
    }
    text
}

/// Why the rates are not those asked for, if they are not.
pub fn warnings(realised: &Realised) -> Vec<String> {
    let mut warnings = Vec::new();
    if realised.capped > 0 {
        warnings.push(format!(
            "max_predictions took {} labels away: predicted {} of {} maskable tokens",
            realised.capped, realised.predicted, realised.maskable
        ));
    }
    if realised.without_sentinel > 0 {
        warnings.push(format!(
            "{} selected tokens were left as they are: their row has more spans than the \
             tokenizer has sentinels",
            realised.without_sentinel
        ));
    }
    warnings
}
