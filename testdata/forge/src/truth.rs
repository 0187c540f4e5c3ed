//! The truth as JSON: a value that keeps the order it was built in, and its text.

use std::fmt::{self, Display, Write};

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any unsigned 64-bit number.
    Number(u64),
    /// Text.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, in order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// An empty object.
    pub fn object() -> Json {
        Json::Object(Vec::new())
    }

    /// Adds a member to an object.
    ///
    /// # Panics
    /// When this is no object.
    pub fn with(mut self, key: &str, value: impl Into<Json>) -> Json {
        self.set(key, value);
        self
    }

    /// Adds or replaces a member of an object.
    ///
    /// # Panics
    /// When this is no object.
    pub fn set(&mut self, key: &str, value: impl Into<Json>) {
        let Json::Object(members) = self else { panic!("no object") };
        members.retain(|(k, _)| k != key);
        members.push((key.to_string(), value.into()));
    }

    /// A member of an object.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }
}

impl From<u64> for Json {
    fn from(v: u64) -> Json {
        Json::Number(v)
    }
}
impl From<u32> for Json {
    fn from(v: u32) -> Json {
        Json::Number(v.into())
    }
}
impl From<bool> for Json {
    fn from(v: bool) -> Json {
        Json::Bool(v)
    }
}
impl From<&str> for Json {
    fn from(v: &str) -> Json {
        Json::Text(v.to_string())
    }
}
impl From<String> for Json {
    fn from(v: String) -> Json {
        Json::Text(v)
    }
}
impl From<Vec<Json>> for Json {
    fn from(v: Vec<Json>) -> Json {
        Json::List(v)
    }
}
impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(v: Option<T>) -> Json {
        v.map_or(Json::Null, Into::into)
    }
}

impl Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(b) => write!(f, "{b}"),
            Json::Number(n) => write!(f, "{n}"),
            Json::Text(t) => text(f, t),
            Json::List(items) => {
                f.write_char('[')?;
                for (i, v) in items.iter().enumerate() {
                    write!(f, "{}{v}", if i == 0 { "" } else { "," })?;
                }
                f.write_char(']')
            }
            Json::Object(members) => {
                f.write_char('{')?;
                for (i, (k, v)) in members.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { "," })?;
                    text(f, k)?;
                    write!(f, ":{v}")?;
                }
                f.write_char('}')
            }
        }
    }
}

fn text(f: &mut fmt::Formatter, t: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in t.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            c if (c as u32) < 0x20 => write!(f, "\\u{:04x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_escapes() {
        let j = Json::object().with("b", 1u64).with("a", "x\"\\\n");
        assert_eq!(j.to_string(), r#"{"b":1,"a":"x\"\\\u000a"}"#);
    }
}
