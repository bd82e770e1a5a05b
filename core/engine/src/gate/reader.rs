//! A cursor over untrusted bytes: every read is checked, nothing is copied.

/// Why a read failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadError {
    /// The bytes ended first.
    End,
    /// A LEB128 number is longer than it needs to be or does not fit 64 bits.
    BadNumber,
}

/// Reads forward through a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, ReadError> {
        let (first, rest) = self.rest.split_first().ok_or(ReadError::End)?;
        self.rest = rest;
        Ok(*first)
    }

    /// The next `len` bytes. `len` is untrusted and may be any number.
    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], ReadError> {
        let len = usize::try_from(len).map_err(|_| ReadError::End)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(ReadError::End)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(ReadError::End)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// An unsigned LEB128 number in its only shortest form.
    pub(super) fn unsigned(&mut self) -> Result<u64, ReadError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(ReadError::BadNumber);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let overlong = shift > 0 && byte == 0;
                return if overlong {
                    Err(ReadError::BadNumber)
                } else {
                    Ok(value)
                };
            }
        }
        Err(ReadError::BadNumber)
    }

    /// A signed LEB128 number in its only shortest form.
    pub(super) fn signed(&mut self) -> Result<i64, ReadError> {
        let mut value = 0_i64;
        let mut previous = 0_u8;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 != 0 {
                previous = byte;
                continue;
            }
            // The tenth byte holds one bit of value, so it can only repeat the sign.
            if shift == 63 && byte != 0 && byte != 0x7f {
                return Err(ReadError::BadNumber);
            }
            let sign_was_set = previous & 0x40 != 0;
            let overlong =
                shift > 0 && ((byte == 0 && !sign_was_set) || (byte == 0x7f && sign_was_set));
            if overlong {
                return Err(ReadError::BadNumber);
            }
            if shift < 57 && byte & 0x40 != 0 {
                value |= -1_i64 << (shift + 7);
            }
            return Ok(value);
        }
        Err(ReadError::BadNumber)
    }

    /// A number of bytes (unsigned LEB128) and then those bytes.
    pub(super) fn prefixed(&mut self) -> Result<&'a [u8], ReadError> {
        let len = self.unsigned()?;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_their_shortest_form_only() {
        let unsigned = |bytes: &[u8]| Cursor::new(bytes).unsigned();
        assert_eq!(unsigned(&[0x00]), Ok(0));
        assert_eq!(unsigned(&[0x81, 0x01]), Ok(129));
        assert_eq!(unsigned(&[0x81, 0x00]), Err(ReadError::BadNumber));
        assert_eq!(unsigned(&[0x81]), Err(ReadError::End));
        let mut most = [0xff; 10];
        most[9] = 1;
        assert_eq!(unsigned(&most), Ok(u64::MAX));
        most[9] = 2;
        assert_eq!(unsigned(&most), Err(ReadError::BadNumber));
        assert_eq!(unsigned(&[0x80; 12]), Err(ReadError::BadNumber));
    }

    #[test]
    fn signed_numbers_keep_their_sign() {
        let signed = |bytes: &[u8]| Cursor::new(bytes).signed();
        assert_eq!(signed(&[0x7f]), Ok(-1));
        assert_eq!(signed(&[0x3f]), Ok(63));
        assert_eq!(signed(&[0xc0, 0x00]), Ok(64));
        assert_eq!(signed(&[0xff, 0x7f]), Err(ReadError::BadNumber));
        assert_eq!(signed(&[0x81, 0x00]), Err(ReadError::BadNumber));
        let mut least = [0x80; 10];
        least[9] = 0x7f;
        assert_eq!(signed(&least), Ok(i64::MIN));
        least[9] = 0x3f;
        assert_eq!(signed(&least), Err(ReadError::BadNumber));
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        assert_eq!(Cursor::new(&[1, 2]).take(u64::MAX), Err(ReadError::End));
        assert_eq!(Cursor::new(&[3, 1, 2]).prefixed(), Err(ReadError::End));
        assert_eq!(Cursor::new(&[2, 1, 2]).prefixed(), Ok(&[1, 2][..]));
    }
}
