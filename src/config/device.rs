//! What a model is trained on, and in which numbers.

use crate::base::error::{Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Where the arithmetic of training runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Device {
    /// `cpu`: all cores, with our own forward and backward passes.
    #[default]
    Cpu,
    /// `reference`: what a GPU would be told to do, on the CPU. Several times slower
    /// than `cpu`; to check a GPU against, and to see what bf16 changes.
    Reference,
    /// `cuda`, `cuda:1`: an NVIDIA GPU, by its number.
    Cuda(usize),
}

impl Device {
    /// What runs on the CPU is described as it always was.
    pub(super) fn is_cpu(&self) -> bool {
        *self == Self::Cpu
    }

    /// Refuses a GPU in a build that knows of none.
    pub fn check(self) -> Result<()> {
        if cfg!(feature = "cuda") || !matches!(self, Self::Cuda(_)) {
            return Ok(());
        }
        Err(Error::usage(
            "device",
            format!("{self} in a build without CUDA"),
            "cpu or reference",
            "build with `cargo build --release --features cuda` (docs/training.md, \"On a \
             GPU\"), or leave device out",
        ))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Reference => f.write_str("reference"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let number = || text.strip_prefix("cuda:")?.parse().ok();
        match text {
            "cpu" => Ok(Self::Cpu),
            "reference" => Ok(Self::Reference),
            "cuda" => Ok(Self::Cuda(0)),
            _ => number().map(Self::Cuda).ok_or_else(|| {
                format!("device {text:?} is none of cpu, reference, cuda, cuda:1, cuda:2, …")
            }),
        }
    }
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Device {
    fn schema_name() -> Cow<'static, str> {
        "Device".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "cpu; cuda or cuda:1, a GPU by its number; reference, what a GPU \
                would be told to do, on the CPU, slowly.",
            "type": "string",
            "pattern": "^(cpu|reference|cuda(:[0-9]+)?)$",
        })
    }
}

/// Numbers that matrices are multiplied in. Parameters, their moments, norms, softmax and
/// loss are 32-bit in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// bfloat16, sums in 32 bits; on a GPU or `reference`.
    Bf16,
}

impl Precision {
    /// What computes in 32 bits is described as it always was.
    pub(super) fn is_single(&self) -> bool {
        *self == Self::F32
    }

    /// Refuses what `device` does not do.
    pub fn check(self, device: Device) -> Result<()> {
        if self == Self::F32 || device != Device::Cpu {
            return Ok(());
        }
        Err(Error::usage(
            "precision",
            "bf16 with device = \"cpu\"",
            "f32",
            "bf16 is for device = \"cuda\"; \"reference\" shows on the CPU what it changes",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_written_the_same() {
        for text in ["cpu", "reference", "cuda", "cuda:3"] {
            assert_eq!(text.parse::<Device>().unwrap().to_string(), text);
        }
        assert_eq!("cuda:0".parse(), Ok(Device::Cuda(0)));
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda1", "CPU"] {
            let refused = text.parse::<Device>().unwrap_err();
            assert!(refused.contains("cuda:1"), "{refused}");
        }
    }

    #[test]
    fn what_a_build_or_a_device_cannot_do_is_refused_with_the_way_out() {
        assert!(Device::Reference.check().is_ok());
        if !cfg!(feature = "cuda") {
            let refused = Device::Cuda(1).check().unwrap_err().to_string();
            assert!(refused.contains("cuda:1") && refused.contains("--features cuda"));
        }
        assert!(Precision::Bf16.check(Device::Reference).is_ok());
        let refused = Precision::Bf16.check(Device::Cpu).unwrap_err();
        assert!(refused.to_string().contains("reference"));
    }
}
