//! Calls by XML-RPC: a method with texts.

use std::fmt::Write;

/// The document that calls `method` with `texts`.
pub fn call(method: &str, texts: &[&str]) -> String {
    let mut document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<methodCall>\r\n<methodName>{method}</methodName>\r\n<params>\r\n"
    );
    for text in texts {
        document.push_str("<param><value><string>");
        escape(text, &mut document);
        document.push_str("</string></value></param>\r\n");
    }
    document.push_str("</params>\r\n</methodCall>\r\n");
    document
}

/// What a fault says, where `document` is one: its text without the tags.
pub fn fault(document: &str) -> Option<String> {
    let (_, fault) = document.split_once("<fault>")?;
    let mut text = String::new();
    let mut is_in_tag = false;
    for character in fault.chars() {
        match character {
            '<' => is_in_tag = true,
            '>' => is_in_tag = false,
            _ if is_in_tag => {}
            _ => text.push(character),
        }
    }
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What XML 1.0 does not allow, section 2.2, becomes a replacement character.
fn escape(text: &str, document: &mut String) {
    for character in text.chars() {
        match character {
            '&' => document.push_str("&amp;"),
            '<' => document.push_str("&lt;"),
            '>' => document.push_str("&gt;"),
            '\t' | '\n' => document.push(character),
            '\r' => {
                let _ = write!(document, "&#13;");
            }
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => document.push(char::REPLACEMENT_CHARACTER),
            _ => document.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_what_servers_were_seen_to_take() {
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<methodCall>\r\n\
            <methodName>dlg.terminate_dlg</methodName>\r\n<params>\r\n\
            <param><value><string>call&lt;&amp;&gt;1</string></value></param>\r\n\
            <param><value><string>a\"1</string></value></param>\r\n\
            <param><value><string>b1</string></value></param>\r\n</params>\r\n</methodCall>\r\n";
        assert_eq!(call("dlg.terminate_dlg", &["call<&>1", "a\"1", "b1"]), expected);
    }

    #[test]
    fn what_xml_has_no_place_for_is_replaced() {
        assert!(call("m", &["a\0b\u{1f}\tc\r"]).contains("<string>a\u{fffd}b\u{fffd}\tc&#13;</string>"));
    }

    #[test]
    fn a_fault_is_told_from_an_answer() {
        let answer = "<methodResponse><params><param><value>OK</value></param></params></methodResponse>";
        assert_eq!(fault(answer), None);
        let document = "<methodResponse><fault><value><struct>\n<member><name>faultCode</name><value><int>404</int></value>\
            </member> <member><name>faultString</name><value>no such dialog</value></member></struct></value></fault>";
        assert_eq!(fault(document).as_deref(), Some("faultCode404 faultStringno such dialog"));
    }
}
