//! Integers as other programs store ids, little-endian, and which they are where
//! nothing says so.

use crate::base::token::TokenId;
use crate::config::IdType;

/// An integer type of a stored id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// 8 bits, unsigned.
    U8,
    /// 8 bits, signed.
    I8,
    /// 16 bits, unsigned.
    U16,
    /// 16 bits, signed.
    I16,
    /// 32 bits, unsigned.
    U32,
    /// 32 bits, signed.
    I32,
    /// 64 bits, unsigned.
    U64,
    /// 64 bits, signed.
    I64,
}

impl From<IdType> for Number {
    fn from(of: IdType) -> Self {
        match of {
            IdType::Uint16 => Self::U16,
            IdType::Int32 => Self::I32,
            IdType::Int64 => Self::I64,
        }
    }
}

impl Number {
    /// The type that NumPy calls `name`.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "uint8" => Self::U8,
            "int8" => Self::I8,
            "uint16" => Self::U16,
            "int16" => Self::I16,
            "uint32" => Self::U32,
            "int32" => Self::I32,
            "uint64" => Self::U64,
            "int64" => Self::I64,
            _ => return None,
        })
    }

    /// Bytes of one.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 => 4,
            Self::U64 | Self::I64 => 8,
        }
    }

    /// `bytes` as ids; what is none of them is the error.
    pub fn ids(self, bytes: &[u8]) -> Result<Vec<TokenId>, String> {
        if !bytes.len().is_multiple_of(self.bytes()) {
            return Err(format!(
                "{} bytes, which are no whole ids of {}",
                bytes.len(),
                self.bytes()
            ));
        }
        match self {
            Self::U8 => wide(bytes, |[b]: [u8; 1]| Ok(b.into())),
            Self::I8 => wide(bytes, |b| fit(i8::from_le_bytes(b))),
            Self::U16 => wide(bytes, |b| Ok(u16::from_le_bytes(b).into())),
            Self::I16 => wide(bytes, |b| fit(i16::from_le_bytes(b))),
            Self::U32 => wide(bytes, |b| Ok(u32::from_le_bytes(b))),
            Self::I32 => wide(bytes, |b| fit(i32::from_le_bytes(b))),
            Self::U64 => wide(bytes, |b| fit(u64::from_le_bytes(b))),
            Self::I64 => wide(bytes, |b| fit(i64::from_le_bytes(b))),
        }
    }

    /// The widest type with which `bytes` are ids below `vocabulary_size`: ids read with
    /// too wide a type come out far above any vocabulary, and with too narrow a one in
    /// between zeros, which any vocabulary has.
    pub fn widest(bytes: &[u8], vocabulary_size: u64) -> Option<Self> {
        IdType::ALL.map(Self::from).into_iter().find(|number| {
            number
                .ids(bytes)
                .is_ok_and(|ids| ids.iter().all(|&id| u64::from(id) < vocabulary_size))
        })
    }
}

fn wide<const N: usize>(
    bytes: &[u8],
    id: impl Fn([u8; N]) -> Result<TokenId, String>,
) -> Result<Vec<TokenId>, String> {
    let (ids, _) = bytes.as_chunks::<N>();
    ids.iter().map(|&bytes| id(bytes)).collect()
}

fn fit<T: TryInto<TokenId> + Copy + std::fmt::Display>(id: T) -> Result<TokenId, String> {
    id.try_into().map_err(|_| format!("id {id}"))
}
