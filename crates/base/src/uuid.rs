//! 128-bit identifiers in Kafka's textual form (22 characters of URL-safe base64, unpadded).

use std::fmt;

use thiserror::Error;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A 128-bit identifier. All zeros means "none" on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

/// Why a text is not a [`Uuid`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UuidError {
    /// Not 22 characters.
    #[error("a uuid has 22 characters, this has {0}")]
    Length(usize),
    /// A character outside URL-safe base64, or bits beyond the 128th.
    #[error("not url-safe base64 of 128 bits")]
    Alphabet,
}

impl Uuid {
    /// All zeros: "none" on the wire.
    pub const ZERO: Self = Self([0; 16]);

    /// A random (version 4) identifier made of 128 random bits. Like Kafka's, its text never
    /// starts with `-`, so that it can be pasted after a command-line flag.
    pub fn from_random(high: u64, low: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        if bytes[0] >> 2 == 62 {
            bytes[0] &= 0x7f;
        }
        Self(bytes)
    }

    /// Whether all bits are zero.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Reads Kafka's textual form.
    ///
    /// # Errors
    /// [`UuidError`] if the text is not 22 characters of URL-safe base64 holding 128 bits.
    pub fn parse(text: &str) -> Result<Self, UuidError> {
        if text.len() != 22 {
            return Err(UuidError::Length(text.len()));
        }
        let mut value: u128 = 0;
        for (at, byte) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|a| *a == byte).ok_or(UuidError::Alphabet)?;
            let digit = u128::try_from(digit).map_err(|_| UuidError::Alphabet)?;
            if at == 21 {
                if digit & 0xf != 0 {
                    return Err(UuidError::Alphabet);
                }
                value = (value << 2) | (digit >> 4);
            } else {
                value = (value << 6) | digit;
            }
        }
        Ok(Self(value.to_be_bytes()))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        let mut text = String::with_capacity(22);
        for at in 0..22_u32 {
            let six = if at == 21 { (value & 0b11) << 4 } else { (value >> (122 - 6 * at)) & 63 };
            let index = usize::try_from(six).unwrap_or(0);
            text.push(char::from(ALPHABET[index]));
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_and_bits_round_trip(bytes in any::<[u8; 16]>()) {
            let uuid = Uuid(bytes);
            prop_assert_eq!(Uuid::parse(&uuid.to_string()), Ok(uuid));
        }

        #[test]
        fn a_random_uuid_never_starts_with_a_dash(high in any::<u64>(), low in any::<u64>()) {
            let uuid = Uuid::from_random(high, low);
            prop_assert!(!uuid.to_string().starts_with('-'));
        }
    }

    #[test]
    fn text_of_another_length_or_alphabet_is_refused() {
        assert_eq!(Uuid::parse("abc"), Err(UuidError::Length(3)));
        assert_eq!(Uuid::parse("AAAAAAAAAAAAAAAAAAAA+A"), Err(UuidError::Alphabet));
        assert_eq!(Uuid::parse("AAAAAAAAAAAAAAAAAAAAAB"), Err(UuidError::Alphabet));
    }
}
