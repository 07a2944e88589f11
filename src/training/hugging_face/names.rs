//! What each architecture calls our parameters, and which of our rows each tensor holds.

use crate::config::Architecture;
use std::ops::Range;

/// What an architecture calls its parts.
pub(super) struct Names {
    /// The class of `transformers` that is the masked language model.
    pub class: &'static str,
    /// In front of embeddings and encoder.
    pub body: &'static str,
    words: &'static str,
    embedding_norm: &'static str,
    pub layers: &'static str,
    attention_norm: &'static str,
    qkv: &'static [&'static str],
    attention_out: &'static str,
    feed_forward_norm: &'static str,
    up: &'static str,
    down: &'static str,
    final_norm: &'static str,
    head: &'static str,
    head_norm: &'static str,
    head_bias: &'static str,
    /// Where files hold the last matrix of the head once more, which is tied to the words.
    pub decoder: &'static str,
}

const BERT: Names = Names {
    class: "BertForMaskedLM",
    body: "bert.",
    words: "embeddings.word_embeddings.weight",
    embedding_norm: "embeddings.LayerNorm",
    layers: "encoder.layer",
    attention_norm: "attention.output.LayerNorm",
    qkv: &[
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    ],
    attention_out: "attention.output.dense",
    feed_forward_norm: "output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    final_norm: "LayerNorm",
    head: "cls.predictions.transform.dense",
    head_norm: "cls.predictions.transform.LayerNorm",
    head_bias: "cls.predictions.bias",
    decoder: "cls.predictions.decoder.weight",
};

const ROBERTA: Names = Names {
    class: "RobertaForMaskedLM",
    body: "roberta.",
    head: "lm_head.dense",
    head_norm: "lm_head.layer_norm",
    head_bias: "lm_head.bias",
    decoder: "lm_head.decoder.weight",
    ..BERT
};

const ROBERTA_PRELAYERNORM: Names = Names {
    class: "RobertaPreLayerNormForMaskedLM",
    body: "roberta_prelayernorm.",
    attention_norm: "attention.LayerNorm",
    feed_forward_norm: "intermediate.LayerNorm",
    ..ROBERTA
};

const MODERNBERT: Names = Names {
    class: "ModernBertForMaskedLM",
    body: "model.",
    words: "embeddings.tok_embeddings.weight",
    embedding_norm: "embeddings.norm",
    layers: "layers",
    attention_norm: "attn_norm",
    qkv: &["attn.Wqkv"],
    attention_out: "attn.Wo",
    feed_forward_norm: "mlp_norm",
    up: "mlp.Wi",
    down: "mlp.Wo",
    final_norm: "final_norm",
    head: "head.dense",
    head_norm: "head.norm",
    head_bias: "decoder.bias",
    decoder: "decoder.weight",
};

/// The names of `architecture`.
pub(super) fn names(architecture: Architecture) -> &'static Names {
    match architecture {
        Architecture::Bert => &BERT,
        Architecture::Roberta => &ROBERTA,
        Architecture::RobertaPrelayernorm => &ROBERTA_PRELAYERNORM,
        Architecture::Modernbert => &MODERNBERT,
    }
}

/// What an architecture calls the head of a classifier.
pub(super) struct HeadNames {
    /// The class of `transformers` that is the classifier.
    pub class: &'static str,
    pub dense: &'static str,
    /// Of ModernBERT alone.
    pub norm: &'static str,
    pub out: &'static str,
}

/// The names of a classifier's head of `architecture`.
pub(super) fn head_names(architecture: Architecture) -> HeadNames {
    let roberta = HeadNames {
        class: "RobertaForSequenceClassification",
        dense: "classifier.dense",
        norm: "",
        out: "classifier.out_proj",
    };
    match architecture {
        Architecture::Roberta => roberta,
        Architecture::RobertaPrelayernorm => HeadNames {
            class: "RobertaPreLayerNormForSequenceClassification",
            ..roberta
        },
        Architecture::Bert => HeadNames {
            class: "BertForSequenceClassification",
            dense: "bert.pooler.dense",
            norm: "",
            out: "classifier",
        },
        Architecture::Modernbert => HeadNames {
            class: "ModernBertForSequenceClassification",
            dense: "head.dense",
            norm: "head.norm",
            out: "classifier",
        },
    }
}

/// Whether places are counted from behind the padding id on (RoBERTa), so that the table
/// of positions has rows in front that no token has.
pub(super) fn counts_from_padding(architecture: Architecture) -> bool {
    matches!(
        architecture,
        Architecture::Roberta | Architecture::RobertaPrelayernorm
    )
}

/// A tensor of a file that holds a parameter of ours, or a third of one.
pub(super) struct Place {
    /// Its name.
    pub tensor: String,
    /// Our rows that it holds, of `parts` equal parts the one with this number.
    pub part: usize,
    /// In how many parts our rows are.
    pub parts: usize,
}

impl Place {
    /// All of the tensor called `tensor`.
    pub fn whole(tensor: String) -> Self {
        Self {
            tensor,
            part: 0,
            parts: 1,
        }
    }

    /// Our numbers that the tensor holds, of `all`.
    pub fn numbers(&self, all: usize) -> Range<usize> {
        let size = all / self.parts;
        self.part * size..(self.part + 1) * size
    }
}

/// What a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// A masked language model: an encoder and its head.
    MaskedModel,
    /// An encoder alone, under the names that it has without a head.
    Encoder,
}

/// The tensors of a folder that hold the parameter that [`Parameters::named`] calls
/// `ours`; none if it is not in a folder of this content.
///
/// [`Parameters::named`]: crate::training::parameters::Parameters::named
pub(super) fn places(architecture: Architecture, content: Content, ours: &str) -> Vec<Place> {
    let names = names(architecture);
    let (body, left_out) = match content {
        Content::MaskedModel => (names.body, ours.starts_with("decoder.")),
        Content::Encoder => ("", ours.starts_with("decoder.") || ours.starts_with("head")),
    };
    if left_out {
        return Vec::new();
    }
    let whole = |tensor: String| vec![Place::whole(tensor)];
    match ours {
        "words" => return whole(format!("{body}{}", names.words)),
        "positions" => return whole(format!("{body}embeddings.position_embeddings.weight")),
        "token_types" => return whole(format!("{body}embeddings.token_type_embeddings.weight")),
        "head_bias" => return whole(names.head_bias.to_owned()),
        _ => {}
    }
    // What is left are linear layers and norms: weights and biases.
    let (module, kind) = ours.rsplit_once('.').unwrap_or((ours, "weight"));
    match module {
        "embedding_norm" => return whole(format!("{body}{}.{kind}", names.embedding_norm)),
        "final_norm" => return whole(format!("{body}{}.{kind}", names.final_norm)),
        "head" => return whole(format!("{}.{kind}", names.head)),
        "head_norm" => return whole(format!("{}.{kind}", names.head_norm)),
        _ => {}
    }
    let inner = module.strip_prefix("layers.").unwrap_or(module);
    let (layer, part) = inner.split_once('.').unwrap_or((inner, ""));
    let within = |name: &str| format!("{body}{}.{layer}.{name}.{kind}", names.layers);
    match part {
        "qkv" => names
            .qkv
            .iter()
            .enumerate()
            .map(|(part, name)| Place {
                tensor: within(name),
                part,
                parts: names.qkv.len(),
            })
            .collect(),
        "attention_norm" => whole(within(names.attention_norm)),
        "attention_out" => whole(within(names.attention_out)),
        "feed_forward_norm" => whole(within(names.feed_forward_norm)),
        "up" => whole(within(names.up)),
        _ => whole(within(names.down)),
    }
}
