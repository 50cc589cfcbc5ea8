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
    /// The name of a Java class.
    Class,
    /// A text that nobody is shown.
    Password,
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
    /// −1, or between 1 and 9.
    GzipLevel,
    /// `*`, or pairs of partition and broker.
    ThrottledReplicas,
    /// `earliest`, `latest` or `by_duration:` and an ISO duration.
    ShareReset,
}

/// Why a value is refused; the text is Kafka's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", if value.is_some() {
    format!("Invalid value {} for configuration {key}: {why}", value.as_deref().unwrap_or_default())
} else {
    format!("Configuration '{key}' {why}")
})]
pub struct ValueError {
    /// The key.
    pub key: &'static str,
    /// The value; `None` where Kafka does not repeat it.
    pub value: Option<String>,
    /// What was expected.
    pub why: String,
}

pub(super) fn check(key: &Key, value: &str) -> Result<(), ValueError> {
    let error = |value: Option<String>, why: String| ValueError { key: key.name, value, why };
    let refuse = |why: String| Err(error(Some(value.to_owned()), why));
    let trimmed = value.trim();
    match key.kind {
        Kind::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "false" => Ok(()),
            _ => refuse("Expected value to be either true or false".to_owned()),
        },
        Kind::Int => match trimmed.parse::<i32>() {
            Ok(number) => within(key.bound, i64::from(number)).or_else(refuse),
            Err(_) => refuse("Not a number of type INT".to_owned()),
        },
        Kind::Short => match trimmed.parse::<i16>() {
            Ok(number) => within(key.bound, i64::from(number)).or_else(refuse),
            Err(_) => refuse("Not a number of type SHORT".to_owned()),
        },
        Kind::Long => match trimmed.parse::<i64>() {
            Ok(number) => within(key.bound, number).or_else(refuse),
            Err(_) => refuse("Not a number of type LONG".to_owned()),
        },
        Kind::Double => match trimmed.parse::<f64>() {
            Ok(number) => {
                fraction(key.bound, number).map_err(|why| error(Some(format!("{number:?}")), why))
            },
            Err(_) => refuse("Not a number of type DOUBLE".to_owned()),
        },
        Kind::String | Kind::Class | Kind::Password => one_of(key.bound, trimmed).or_else(refuse),
        Kind::List => list(key, trimmed),
    }
}

fn list(key: &Key, value: &str) -> Result<(), ValueError> {
    let error = |value: Option<String>, why: String| ValueError { key: key.name, value, why };
    if value.is_empty() {
        return Ok(());
    }
    let elements: Vec<&str> = value.split(',').map(str::trim).collect();
    match key.bound {
        Bound::OneOf(_) => {
            if elements.iter().any(|element| element.is_empty()) {
                return Err(error(None, "values must not be empty.".to_owned()));
            }
            for element in elements {
                one_of(key.bound, element).map_err(|why| error(Some(element.to_owned()), why))?;
            }
        },
        Bound::ThrottledReplicas => {
            let is_number =
                |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let is_pair = |element: &&str| {
                element.split_once(':').is_some_and(|(a, b)| is_number(a) && is_number(b))
            };
            if value != "*" && !elements.iter().all(is_pair) {
                let why = format!(
                    "{} must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                    key.name
                );
                return Err(error(Some(format!("[{}]", elements.join(", "))), why));
            }
        },
        Bound::Any
        | Bound::AtLeast(_)
        | Bound::Between(..)
        | Bound::Fraction(..)
        | Bound::GzipLevel
        | Bound::ShareReset => {},
    }
    Ok(())
}

fn fraction(bound: Bound, number: f64) -> Result<(), String> {
    match bound {
        Bound::Fraction(low, _) if number < low => Err(format!("Value must be at least {low}")),
        Bound::Fraction(_, high) if number > high => {
            Err(format!("Value must be no more than {high}"))
        },
        _ => Ok(()),
    }
}

fn within(bound: Bound, number: i64) -> Result<(), String> {
    match bound {
        Bound::AtLeast(low) if number < low => Err(format!("Value must be at least {low}")),
        Bound::Between(low, _) if number < low => Err(format!("Value must be at least {low}")),
        Bound::Between(_, high) if number > high => {
            Err(format!("Value must be no more than {high}"))
        },
        Bound::GzipLevel if number != -1 && !(1..=9).contains(&number) => {
            Err("Value must be between 1 and 9 or equal to -1".to_owned())
        },
        _ => Ok(()),
    }
}

fn one_of(bound: Bound, value: &str) -> Result<(), String> {
    match bound {
        Bound::OneOf(allowed) if !allowed.contains(&value) => {
            Err(format!("String must be one of: {}", allowed.join(", ")))
        },
        Bound::ShareReset
            if !matches!(value, "earliest" | "latest") && !value.starts_with("by_duration:P") =>
        {
            Err(format!(
                "Invalid value `{value}` for configuration share.auto.offset.reset. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
            ))
        },
        _ => Ok(()),
    }
}
