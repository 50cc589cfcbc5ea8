//! Types and bounds of configuration values.

use thiserror::Error;

use super::Key;

/// The type of a value. The numbers of DescribeConfigs live in the front door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Any text.
    String,
    /// 32 bits.
    Int,
    /// 16 bits.
    Short,
    /// 64 bits.
    Long,
    /// A decimal number.
    Double,
    /// Texts separated by commas.
    List,
}

/// What a value must satisfy beyond its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Nothing.
    Any,
    /// At least this.
    AtLeast(i64),
    /// Between these, both included.
    Between(i64, i64),
    /// A decimal number between these, both included.
    Fraction(f64, f64),
    /// One of these; for lists, each element.
    OneOf(&'static [&'static str]),
}

/// Why a value is refused; the text is Kafka's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("Invalid value {value} for configuration {key}: {why}")]
pub struct ValueError {
    /// The key.
    pub key: &'static str,
    /// The value.
    pub value: String,
    /// What was expected.
    pub why: String,
}

pub(super) fn check(key: &Key, value: &str) -> Result<(), ValueError> {
    let refuse = |why: String| Err(ValueError { key: key.name, value: value.to_owned(), why });
    let value = value.trim();
    match key.kind {
        Kind::Boolean => match value.to_ascii_lowercase().as_str() {
            "true" | "false" => Ok(()),
            _ => refuse("Expected value to be either true or false".to_owned()),
        },
        Kind::Int => match value.parse::<i32>() {
            Ok(number) => within(key.bound, i64::from(number)).or_else(refuse),
            Err(_) => refuse("Not a number of type INT".to_owned()),
        },
        Kind::Short => match value.parse::<i16>() {
            Ok(number) => within(key.bound, i64::from(number)).or_else(refuse),
            Err(_) => refuse("Not a number of type SHORT".to_owned()),
        },
        Kind::Long => match value.parse::<i64>() {
            Ok(number) => within(key.bound, number).or_else(refuse),
            Err(_) => refuse("Not a number of type LONG".to_owned()),
        },
        Kind::Double => match (value.parse::<f64>(), key.bound) {
            (Ok(number), Bound::Fraction(low, high)) if !(low..=high).contains(&number) => {
                refuse(format!("Value must be between {low} and {high}"))
            },
            (Ok(number), _) if number.is_finite() => Ok(()),
            _ => refuse("Not a number of type DOUBLE".to_owned()),
        },
        Kind::String => one_of(key.bound, value).or_else(refuse),
        Kind::List => {
            for element in value.split(',').map(str::trim).filter(|e| !e.is_empty()) {
                one_of(key.bound, element).or_else(refuse)?;
            }
            Ok(())
        },
    }
}

fn within(bound: Bound, number: i64) -> Result<(), String> {
    match bound {
        Bound::AtLeast(low) if number < low => Err(format!("Value must be at least {low}")),
        Bound::Between(low, _) if number < low => Err(format!("Value must be at least {low}")),
        Bound::Between(_, high) if number > high => {
            Err(format!("Value must be no more than {high}"))
        },
        Bound::Any
        | Bound::AtLeast(_)
        | Bound::Between(..)
        | Bound::Fraction(..)
        | Bound::OneOf(_) => Ok(()),
    }
}

fn one_of(bound: Bound, value: &str) -> Result<(), String> {
    match bound {
        Bound::OneOf(allowed) if !allowed.contains(&value) => {
            Err(format!("String must be one of: {}", allowed.join(", ")))
        },
        Bound::OneOf(_)
        | Bound::Any
        | Bound::AtLeast(_)
        | Bound::Between(..)
        | Bound::Fraction(..) => Ok(()),
    }
}
