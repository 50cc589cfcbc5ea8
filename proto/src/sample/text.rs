//! How the generated struct that holds a sample value prints with `{:?}`.

use std::fmt::Write as _;

use super::Value;
use crate::schema::{Field, Kind, Message, Struct};

/// The `Debug` text of the generated struct that holds these values.
pub fn debug_text(message: &Message, values: &[Value]) -> String {
    let mut out = String::new();
    if let Some(root) = message.structs.first() {
        fields(&mut out, message, root, values);
    }
    out
}

fn fields(out: &mut String, message: &Message, s: &Struct, values: &[Value]) {
    out.push_str(&s.name);
    for (index, (field, value)) in s.fields.iter().zip(values).enumerate() {
        out.push_str(if index == 0 { " { " } else { ", " });
        out.push_str(&field.rust_name);
        out.push_str(": ");
        field_value(out, message, field, value);
    }
    out.push_str(if s.fields.is_empty() { "" } else { " }" });
}

fn field_value(out: &mut String, message: &Message, field: &Field, v: &Value) {
    let optional = field.nullable.is_some() && field.kind != Kind::Records;
    let is_null = matches!(
        v,
        Value::Text(None) | Value::Bytes(None) | Value::Struct(None) | Value::Array(None)
    );
    match (field.kind == Kind::Records, is_null) {
        (true, true) => out.push_str("Null"),
        (true, false) => {
            out.push_str("Bytes(");
            value(out, message, &field.kind, v);
            out.push(')');
        },
        (false, true) => out.push_str("None"),
        (false, false) if optional => {
            out.push_str("Some(");
            value(out, message, &field.kind, v);
            out.push(')');
        },
        (false, false) => value(out, message, &field.kind, v),
    }
}

fn value(out: &mut String, message: &Message, kind: &Kind, v: &Value) {
    let _infallible = match v {
        Value::Bool(value) => write!(out, "{value:?}"),
        Value::Int(value) => write!(out, "{value:?}"),
        Value::Float(value) => write!(out, "{value:?}"),
        Value::Uuid(value) => write!(out, "Uuid({value:?})"),
        Value::Text(text) => write!(out, "{:?}", text.as_deref().unwrap_or_default()),
        Value::Bytes(bytes) => {
            let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default());
            write!(out, "b{text:?}")
        },
        Value::Struct(values) => {
            let s = kind.struct_name().and_then(|name| message.find(name));
            if let (Some(s), Some(values)) = (s, values) {
                fields(out, message, s, values);
            }
            Ok(())
        },
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().flatten().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                if let Kind::Array(element_kind) = kind {
                    value(out, message, element_kind, element);
                }
            }
            out.push(']');
            Ok(())
        },
    };
}
