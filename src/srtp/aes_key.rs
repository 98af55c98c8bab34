//! The key schedule of AES and its tables (FIPS 197), for paths that can't use a library.

/// Round keys of the longest key, in words.
pub const MOST_ROUND_KEYS: usize = 60;

/// The product in GF(2^8) of `a` and x.
const fn double(a: u8) -> u8 {
    a << 1 ^ if a & 0x80 != 0 { 0x1b } else { 0 }
}

/// The S-box (section 5.1.1): powers of 3 and of its inverse run through all of GF(2^8) together.
const fn s_box() -> [u8; 256] {
    let mut table = [0; 256];
    let (mut power, mut inverse) = (1u8, 1u8);
    loop {
        power ^= double(power);
        inverse ^= inverse << 1;
        inverse ^= inverse << 2;
        inverse ^= inverse << 4;
        if inverse & 0x80 != 0 {
            inverse ^= 0x09;
        }
        let spread = inverse ^ inverse.rotate_left(1) ^ inverse.rotate_left(2) ^ inverse.rotate_left(3);
        table[power as usize] = spread ^ inverse.rotate_left(4) ^ 0x63;
        if power == 1 {
            break;
        }
    }
    table[0] = 0x63;
    table
}

static S_BOX: [u8; 256] = s_box();

/// SubBytes and MixColumns of a column in one (section 5.1): of the byte at place `n` of the column, table `n`.
pub fn tables() -> [[u32; 256]; 4] {
    std::array::from_fn(|place| {
        std::array::from_fn(|byte| {
            let value = S_BOX[byte];
            let column = u32::from_be_bytes([double(value), value, value, double(value) ^ value]);
            column.rotate_right(8 * place as u32)
        })
    })
}

/// The round keys of a key of 16, 24 or 32 bytes, and the number of rounds (section 5.2). None of another length.
pub(super) fn expand(key: &[u8]) -> Option<([u32; MOST_ROUND_KEYS], u32)> {
    if ![16, 24, 32].contains(&key.len()) {
        return None;
    }
    let words = key.len() / 4;
    let rounds = words + 6;
    let mut keys = [0; MOST_ROUND_KEYS];
    for (word, bytes) in keys.iter_mut().zip(key.as_chunks().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    let substitute = |word: u32| u32::from_be_bytes(word.to_be_bytes().map(|byte| S_BOX[usize::from(byte)]));
    let mut constant = 1;
    for at in words..4 * (rounds + 1) {
        let mut word = keys[at - 1];
        if at % words == 0 {
            word = substitute(word.rotate_left(8)) ^ u32::from(constant) << 24;
            constant = double(constant);
        } else if words == 8 && at % words == 4 {
            word = substitute(word);
        }
        keys[at] = keys[at - words] ^ word;
    }
    Some((keys, rounds as u32))
}

#[cfg(test)]
mod tests {
    use super::super::cipher::aes::Aes;
    use super::*;

    /// One block by tables, as programs elsewhere do it.
    fn encrypt(key: &[u8], block: u128) -> u128 {
        let (keys, rounds) = expand(key).unwrap();
        let tables = tables();
        let mut state: [u32; 4] = std::array::from_fn(|at| (block >> (96 - 32 * at)) as u32 ^ keys[at]);
        let byte = |state: &[u32; 4], column: usize, place: usize| {
            usize::from(state[(column + place) % 4].to_be_bytes()[place])
        };
        for round in 1..rounds as usize {
            let columns = |column: usize| (0..4).fold(0, |sum, n| sum ^ tables[n][byte(&state, column, n)]);
            state = std::array::from_fn(|column| columns(column) ^ keys[4 * round + column]);
        }
        let last: [u32; 4] = std::array::from_fn(|column| {
            let bytes = std::array::from_fn(|n| S_BOX[byte(&state, column, n)]);
            u32::from_be_bytes(bytes) ^ keys[4 * rounds as usize + column]
        });
        last.iter().fold(0, |number, word| number << 32 | u128::from(*word))
    }

    /// FIPS 197, appendix C, and the library that packets are encrypted with.
    #[test]
    fn blocks_are_those_of_the_standard() {
        let key: Vec<u8> = (0..32).collect();
        let plain = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff;
        for (bytes, expected) in [
            (16, 0x69c4_e0d8_6a7b_0430_d8cd_b780_70b4_c55a),
            (24, 0xdda9_7ca4_864c_dfe0_6eaf_70a0_ec0d_7191),
            (32, 0x8ea2_b7ca_5167_45bf_eafc_4990_4b49_6089),
        ] {
            assert_eq!(encrypt(&key[..bytes], plain), expected);
            let mut keystream = [0; 16];
            Aes::new(&key[..bytes]).apply_keystream(plain, &mut keystream);
            assert_eq!(u128::from_be_bytes(keystream), expected);
        }
        assert!(expand(&key[..20]).is_none());
    }
}
