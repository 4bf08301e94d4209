//! How containerd writes numbers and times into its databases.

/// Seconds from 0001-01-01 to 1970-01-01, both UTC: Go's zero time is the year 1.
const YEAR_1_TO_1970: i64 = 62_135_596_800;

/// A time in UTC as Go's `time.Time.MarshalBinary` writes it (version 1). Times beyond the year 292,000,000,000 stop there.
pub fn go_time(epoch: u64) -> Vec<u8> {
    let seconds = i64::try_from(epoch).unwrap_or(i64::MAX).saturating_add(YEAR_1_TO_1970);
    let mut out = vec![1];
    out.extend(seconds.to_be_bytes());
    out.extend(0u32.to_be_bytes());
    // Minutes east of UTC; Go's mark for "this is UTC" is -1.
    out.extend((-1i16).to_be_bytes());
    out
}

/// Go's `binary.PutUvarint`.
pub fn uvarint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

/// Go's `binary.PutVarint` (zigzag) of a number that is not negative. Sizes over `i64::MAX` stop there.
pub fn varint(number: u64) -> Vec<u8> {
    uvarint(number.min(i64::MAX as u64) << 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_writes_them() {
        // Printed by Go 1.26: time.Unix(1700000000, 0).UTC().MarshalBinary(), binary.PutVarint, binary.PutUvarint.
        assert_eq!(hex::encode(go_time(1_700_000_000)), "010000000edce5e80000000000ffff");
        assert_eq!(varint(4), [0x08]);
        assert_eq!(hex::encode(varint(105_398_398)), "fc81c264");
        assert_eq!(hex::encode(uvarint(300)), "ac02");
    }
}
