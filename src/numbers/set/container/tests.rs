use super::*;

#[test]
fn select_in_word_finds_every_bit() {
    let mut word = 0x9E37_79B9_7F4A_7C15_u64;
    for word in std::iter::repeat_with(|| {
        word = word.wrapping_mul(0xD129_0D3A_2F5F_D0C5).rotate_left(17) ^ 0x5555;
        word & word.rotate_left((word % 64) as u32)
    })
    .take(2_000)
    .chain([1, u64::MAX, 1 << 63, 0xFF00_0000_0000_00FF])
    {
        let bits = (0..64_u16).filter(|bit| word >> bit & 1 == 1);
        for (index, bit) in bits.enumerate() {
            assert_eq!(select_in_word(word, index as u32), bit, "{word:#x} {index}");
        }
    }
}

#[test]
fn an_array_is_searched_right_however_its_values_lie() {
    let spread: Vec<u16> = (0..4096).map(|index| index * 16).collect();
    let low: Vec<u16> = (0..4096).collect();
    let high: Vec<u16> = (0..4096).map(|index| index + 61_440).collect();
    for values in [spread, low, high, vec![7], vec![0, 65_535]] {
        let bytes: Vec<[u8; 2]> = values.iter().map(|value| value.to_le_bytes()).collect();
        let container = Container::Array(&bytes);
        container.validate(values.len() as u32).unwrap();
        for low in 0..=u16::MAX {
            let expected = values.binary_search(&low).map(|i| Run::one(low, i as u32)).map_err(|i| i as u32);
            assert_eq!(container.find(low), expected, "{low}");
        }
    }
}

#[test]
fn damaged_bytes_give_answers_and_no_panic() {
    let values: Vec<[u8; 2]> = (0..5000_u32).map(|i| ((i * 40_503) as u16).to_le_bytes()).collect();
    let words: Vec<[u8; 8]> = (0..1024_u64).map(|i| i.wrapping_mul(0x9E37_79B9).to_le_bytes()).collect();
    let runs: Vec<[u8; 4]> = (0..500_u32).map(|i| i.wrapping_mul(0x9E37_79B9).to_le_bytes()).collect();
    let samples: Vec<AtomicU16> = (0..BITMAP_SAMPLES).map(|_| AtomicU16::new(0)).collect();
    for container in
        [Container::Array(&values), Container::Bitmap(&words, &samples), Container::Runs(&runs, &samples)]
    {
        container.build_samples();
        assert!(container.validate(1).is_err());
        for low in 0..=u16::MAX {
            let _ = container.find(low);
            let _ = container.select(u32::from(low));
        }
        let mut cursor = container.cursor_at(3, 1);
        let found = std::iter::from_fn(|| container.next_run(&mut cursor)).count();
        assert!(found <= 65_536, "the iteration ends");
    }
}

#[test]
fn runs_that_touch_are_refused_as_the_libraries_of_the_format_do() {
    let samples: Vec<AtomicU16> = (0..BITMAP_SAMPLES).map(|_| AtomicU16::new(0)).collect();
    let of = |runs: &[(u16, u16)]| -> Vec<[u8; 4]> {
        let bytes = |(first, more): &(u16, u16)| -> [u8; 4] {
            std::array::from_fn(|i| if i < 2 { first.to_le_bytes()[i] } else { more.to_le_bytes()[i - 2] })
        };
        runs.iter().map(bytes).collect()
    };
    for (runs, expected) in [
        (of(&[(7, 0), (9, 1)]), Ok(())),
        (of(&[(7, 0), (8, 1)]), Err(Fault::Order)),
        (of(&[(7, 1), (8, 0)]), Err(Fault::Order)),
        (of(&[(0, 0), (1, 1)]), Err(Fault::Order)),
        (of(&[(9, 1), (7, 0)]), Err(Fault::Order)),
        (of(&[(65_534, 2)]), Err(Fault::Order)),
        (of(&[(65_533, 2)]), Ok(())),
    ] {
        assert_eq!(Container::Runs(&runs, &samples).validate(3), expected, "{runs:?}");
    }
}
