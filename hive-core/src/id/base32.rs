//! Crockford's base32 of 128 bits, lower-case: <https://www.crockford.com/base32.html>.
//!
//! Stricter than the original, which also reads `O` as `0` and `I` as `1`: one id has one spelling, so that text can be
//! compared, searched and used as a key.

/// How many digits 128 bits take. The first carries three bits, each of the others five.
pub(super) const DIGITS: usize = 26;

/// The digits as a class of a regular expression.
pub(super) const CLASS: &str = "0-9a-hjkmnp-tv-z";

const ALPHABET: [u8; 32] = *b"0123456789abcdefghjkmnpqrstvwxyz";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum DecodeError {
    /// Not 26 characters but this many.
    Length(usize),
    Digit(char),
    Overflow,
}

#[expect(clippy::indexing_slicing, reason = "five bits always lie within the 32 digits")]
pub(super) fn encode(bits: u128) -> [u8; DIGITS] {
    std::array::from_fn(|place| {
        let shift = 5 * (DIGITS - 1 - place);
        ALPHABET[usize::from((bits >> shift) as u8 & 0x1f)]
    })
}

pub(super) fn decode(text: &str) -> Result<u128, DecodeError> {
    let length = text.chars().count();
    if length != DIGITS {
        return Err(DecodeError::Length(length));
    }
    text.chars().try_fold(0u128, |bits, digit| {
        let value = ALPHABET
            .iter()
            .position(|known| char::from(*known) == digit)
            .ok_or(DecodeError::Digit(digit))?;
        if bits >> 123 != 0 {
            return Err(DecodeError::Overflow);
        }
        Ok(bits << 5 | value as u128)
    })
}
