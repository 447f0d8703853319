//! How messages name the options of a list: as their reader gives them.

/// Who reads the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wording {
    /// A caller of the API, who gives `leading_zeros=drop`.
    #[default]
    Parameters,
    /// A user of the commands, who gives `--leading-zeros drop`.
    Flags,
}

impl Wording {
    /// The option `name` with `value`, as it is given.
    pub fn option(self, name: &str, value: &str) -> String {
        match self {
            Wording::Parameters => format!("{name}={value}"),
            Wording::Flags => {
                let plain = |c: char| c.is_alphanumeric() || "-_+:.,/".contains(c);
                let quote = if !value.is_empty() && value.chars().all(plain) { "" } else { "'" };
                format!("--{} {quote}{value}{quote}", name.replace('_', "-"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_named_as_they_are_given() {
        assert_eq!(Wording::Parameters.option("leading_zeros", "drop"), "leading_zeros=drop");
        assert_eq!(Wording::Flags.option("leading_zeros", "drop"), "--leading-zeros drop");
        assert_eq!(Wording::Flags.option("column", "CO Code"), "--column 'CO Code'");
    }
}
