use super::*;

fn zones(table: &ZoneTable, number: u64) -> Option<String> {
    let zones = table.zones_of(Number::new(number).unwrap())?;
    Some(zones.iter().map(ZoneName::as_str).collect::<Vec<_>>().join(" "))
}

#[test]
fn the_longest_prefix_counts() {
    let text = "prefix,zones\n7,Europe/Moscow Asia/Yekaterinburg\n7912,Asia/Yekaterinburg\n79121,Asia/Omsk\n";
    let table = ZoneTable::parse(text).unwrap();
    for (number, expected) in [
        (7, Some("Europe/Moscow Asia/Yekaterinburg")),
        (79_111_234_567, Some("Europe/Moscow Asia/Yekaterinburg")),
        (7_912, Some("Asia/Yekaterinburg")),
        (79_120_000_000, Some("Asia/Yekaterinburg")),
        (79_121_000_000, Some("Asia/Omsk")),
        (79_121_999_999, Some("Asia/Omsk")),
        (79_122_000_000, Some("Asia/Yekaterinburg")),
        (79_130_000_000, Some("Europe/Moscow Asia/Yekaterinburg")),
        (89_130_000_000, None),
        (6, None),
    ] {
        assert_eq!(zones(&table, number).as_deref(), expected, "{number}");
    }
    assert_eq!(table.to_csv(), text);
    assert_eq!(ZoneTable::parse(&table.to_csv()).unwrap(), table);
}

#[test]
fn the_shipped_table_is_as_a_search_for_the_longest_prefix_finds() {
    let table = ZoneTable::phone().unwrap();
    assert_eq!(table.rows(), 3_240);
    let rows: HashMap<&str, &str> = PHONE.lines().skip(1).filter_map(|line| line.split_once(',')).collect();
    for number in (0..40_000_u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 99_999_999_999 + 1) {
        let digits = number.to_string();
        let longest = (1..=digits.len()).rev().find_map(|length| rows.get(&digits[..length]));
        assert_eq!(zones(&table, number).as_deref(), longest.copied(), "{number}");
    }
}

#[test]
fn ranges_are_disjoint() {
    let table = ZoneTable::parse("first,last,zones\n100,199,Europe/Berlin\n50,60,Asia/Omsk\n").unwrap();
    assert_eq!((zones(&table, 60).as_deref(), zones(&table, 61)), (Some("Asia/Omsk"), None));
    assert_eq!(zones(&table, 199).as_deref(), Some("Europe/Berlin"));
    assert_eq!(ZoneTable::parse(&table.to_csv()).unwrap().to_csv(), table.to_csv());
}

#[test]
fn what_is_wrong_names_its_row() {
    for (text, words) in [
        ("", "prefix,zones"),
        ("number,zones\n7,Asia/Omsk\n", "number,zones"),
        ("prefix,zones\n", "no rows"),
        ("prefix,zones\n7\n", "row 2 has 1 cells"),
        ("prefix,zones\n7,Asia/Omsk,Asia/Chita\n", "several time zones of one cell by spaces"),
        ("prefix;zones\n7;Asia/Omsk\n", "separated by commas"),
        ("prefix,zones\n8,Asia/Omsk\n\"7,Asia/Omsk\n9,Asia/Omsk\n", "in line 3 is not closed"),
        ("prefix,zones\n7,Asia/Omsk\n+8,Asia/Omsk\n", "row 3"),
        ("prefix,zones\n7,Asia/Nowhere\n", "row 2: \"Asia/Nowhere\" is not a time zone"),
        ("prefix,zones\n7,\n", "row 2 has no time zone"),
        ("prefix,zones\n7,Asia/Omsk\n8,Asia/Omsk\n7,Asia/Chita\n", "rows 2 and 4"),
        ("first,last,zones\n7,9,Asia/Omsk\n1,7,Asia/Omsk\n", "rows 2 and 3 overlap, both have 7:"),
        ("first,last,zones\n9,7,Asia/Omsk\n", "row 2"),
    ] {
        let error = ZoneTable::parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}
