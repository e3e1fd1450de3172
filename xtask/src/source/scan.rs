//! Just enough of Rust's lexical rules to tell code from comments and literals.
//!
//! Words in comments and strings must not count as code, and braces in them must not count as blocks.

/// Lines (from 1) on which `unsafe` or the lint `unsafe_code` stands in code.
pub(crate) fn unsafe_lines(text: &str) -> Vec<usize> {
    let names = |line: &str| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == "unsafe" || word == "unsafe_code")
    };
    let code = code_only(text);
    code.lines().enumerate().filter(|(_, line)| names(line)).map(|(index, _)| index + 1).collect()
}

/// Number of lines, those of `#[cfg(test)] mod NAME { ... }` left out.
pub(crate) fn lines_without_tests(text: &str) -> usize {
    let code = code_only(text);
    let mut count = 0;
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        let module = lines.peek().is_some_and(|next| is_module(next));
        if line.trim() != "#[cfg(test)]" || !module {
            count += 1;
            continue;
        }
        let mut depth = 0usize;
        for line in lines.by_ref() {
            depth = depth.saturating_add(line.matches('{').count()).saturating_sub(line.matches('}').count());
            if depth == 0 {
                break;
            }
        }
    }
    count
}

fn is_module(line: &str) -> bool {
    let line = line.trim_start();
    ["mod ", "pub mod ", "pub(crate) mod ", "pub(super) mod "].iter().any(|start| line.starts_with(start))
}

/// The text with comments and the contents of literals blanked out, line for line.
fn code_only(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    let mut word_before = false;
    while let Some(first) = rest.chars().next() {
        let skip = if word_before { literal_after_word(rest) } else { comment_or_literal(rest) };
        if skip > 0 {
            let (gone, left) = rest.split_at(skip);
            code.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            (rest, word_before) = (left, false);
        } else {
            code.push(first);
            word_before = first.is_alphanumeric() || first == '_';
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// Inside a word an `r` or `b` opens nothing, but a quote does, as in `b"..."` after its prefix was passed.
fn literal_after_word(rest: &str) -> usize {
    if rest.starts_with('"') { quoted(rest) } else { 0 }
}

/// Bytes of the comment or literal that starts here; 0 for code.
fn comment_or_literal(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    for prefix in ["br", "cr", "r"] {
        if let Some(after) = rest.strip_prefix(prefix)
            && let Some(length) = raw_string(after)
        {
            return prefix.len() + length;
        }
    }
    if let Some(after) = rest.strip_prefix("b'") {
        return 1 + character(&rest[1..]).unwrap_or(after.len().min(1));
    }
    match rest.chars().next() {
        Some('"') => quoted(rest),
        Some('\'') => character(rest).unwrap_or(0),
        _ => 0,
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0usize);
    while let Some(here) = rest.get(at..).filter(|here| !here.is_empty()) {
        if here.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with("*/") {
            (depth, at) = (depth.saturating_sub(1), at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// `"..."` with escapes.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `#*"..."#*` after the prefix; `None` when it is something else, as in `r#type`.
fn raw_string(after: &str) -> Option<usize> {
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close).map_or(after.len(), |at| hashes + 1 + at + close.len());
    Some(end)
}

/// `'x'` or `'\n'`; `None` for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let body = &rest[1..];
    if body.starts_with('\\') {
        let end = body.char_indices().skip(2).find(|(_, c)| *c == '\'')?.0;
        return Some(1 + end + 1);
    }
    let width = body.chars().next()?.len_utf8();
    body[width..].starts_with('\'').then_some(1 + width + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_counts_as_unsafe() {
        let text = concat!(
            "// unsafe in a comment\n",
            "/* unsafe /* nested */ still unsafe */ fn a() {}\n",
            "const T: &str = \"unsafe \\\" unsafe\";\n",
            "const R: &[u8] = br#\"unsafe \" unsafe\"#;\n",
            "fn b<'a>(x: &'a str) -> char { '\"' } // unsafe\n",
            "fn c() { unsafe { d() } }\n",
            "#![allow(unsafe_code)]\n",
            "fn unsafely() {}\n",
        );
        assert_eq!(unsafe_lines(text), [6, 7]);
    }

    #[test]
    fn literals_and_lifetimes_do_not_swallow_code() {
        for before in [
            "'\\''",
            "'\\u{1f600}'",
            "'é'",
            "b'\"'",
            "b\"x\\\"\"",
            "c\"x\"",
            "r\"\\\"",
            "r#type",
            "&'static x",
        ] {
            assert_eq!(unsafe_lines(&format!("let x = {before}; unsafe {{}}")), [1], "{before}");
        }
    }

    #[test]
    fn a_test_module_does_not_count() {
        let text = concat!(
            "fn a() {}\n",
            "#[cfg(test)]\n",
            "mod tests {\n",
            "    const OPEN: &str = \"{\";\n",
            "    fn t() { if true { } }\n",
            "}\n",
            "fn b() {}\n",
        );
        assert_eq!(lines_without_tests(text), 2);
    }

    #[test]
    fn other_things_for_tests_and_modules_elsewhere_count() {
        assert_eq!(lines_without_tests("#[cfg(test)]\nfn only() {}\nfn b() {}\n"), 3);
        assert_eq!(lines_without_tests("#[cfg(test)]\nmod tests;\nfn b() {}\n"), 1);
    }
}
