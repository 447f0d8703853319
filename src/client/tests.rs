use super::*;

#[test]
fn reads_servers() {
    for (text, shown) in [
        ("http://127.0.0.1:7979", "http://127.0.0.1:7979"),
        ("http://localhost/", "http://localhost:80"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
    ] {
        assert_eq!(text.parse::<Server>().unwrap().to_string(), shown);
    }
    for bad in
        ["", "127.0.0.1:7979", "ftp://a:1", "https://", "https://a b:1", "unix:", "http://", "http://a b"]
    {
        assert!(bad.parse::<Server>().is_err(), "{bad}");
    }
}
